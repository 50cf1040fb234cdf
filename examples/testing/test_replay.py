"""Record a service once, then test without it."""

import requests
from werkzeug import Request, Response


@Request.application
def service(request):
    """Stands for a service elsewhere; give its URL as upstream."""
    return Response(f"real {request.path}")


def test_what_was_recorded_is_replayed(harness, tmp_path):
    file = tmp_path / "service.har"
    real = harness(upstream=service, mode="capture", recording=file)
    assert requests.get(f"{real.url}/orders", timeout=5).text == "real /orders"
    real.close()  # writes the file

    api = harness(recording=file)
    assert requests.get(f"{api.url}/orders", timeout=5).text == "real /orders"
    assert api.unused == []
