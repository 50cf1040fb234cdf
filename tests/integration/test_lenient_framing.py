"""Answers that are framed twice, from upstreams that the user says he knows."""

import pytest
from threaded_origin import ThreadedOrigin
from wire import fetch

from rolo.gateway import Gateway
from rolo.proxy import ProxyHandler
from rolo.serving import serve

TWICE = b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("server", ["native", "werkzeug"], ids=["loop", "blocking"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_chunks_win_and_the_connection_ends(server, version):
    with ThreadedOrigin() as origin:
        origin.answer(b"HTTP/" + version + b" 200 OK\r\n" + TWICE, times=3)
        strict, lenient = ProxyHandler(origin.url), ProxyHandler(origin.url, lenient_framing=True)
        with serve(Gateway([strict]), server=server) as running:
            assert fetch(running.url).status == 502
        with serve(Gateway([lenient]), server=server) as running:
            for _ in range(2):
                answer = fetch(running.url)
                assert (answer.status, answer.body) == (200, b"hello")
                assert answer.get("content-length") is None
        assert origin.connections == 3
        strict.close()
        lenient.close()
