"""What hooks are given answers to the names of werkzeug, or raises."""

from rolo.bridge.lazy_response import UpstreamAnswer
from rolo.proxy.hooks.editable import ProxiedResponse


def answered(body=b"came"):
    headers = [(b"Content-Type", b"text/plain"), (b"Content-Length", b"4")]
    return ProxiedResponse(UpstreamAnswer(200, b"OK", headers, [body]), "GET")


def test_the_status_under_both_names():
    response = answered()
    assert response.status_code == response.status == 200
    response.status_code = 404
    assert (response.status, response.answer(response.body).status) == (404, 404)


def test_the_data_is_the_body():
    response = answered()
    assert response.data == b"came"
    response.data = "text"
    assert (response.data, response.plain) == (b"text", b"text")
