"""What a client makes of a service that breaks: in the middle of an answer, and altogether."""

import pytest
import requests

from rolo.faults import cut


def download(url, tries=3):
    """The code under test."""
    for left in reversed(range(tries)):
        try:
            return requests.get(url, timeout=5).content
        except requests.exceptions.ConnectionError:
            if not left:
                raise
        except requests.exceptions.ChunkedEncodingError:
            pass


def test_a_broken_download_is_tried_again(harness):
    api = harness()
    api.get("/file").returns("x" * 5000).fails(cut(after=1000), first=1)

    assert len(download(f"{api.url}/file")) == 5000


def test_an_outage_is_told(harness):
    api = harness()
    api.get("/file").returns("x" * 5000)

    with api.everything().outage(), pytest.raises(requests.exceptions.ConnectionError):
        download(f"{api.url}/file")
    assert len(download(f"{api.url}/file")) == 5000
