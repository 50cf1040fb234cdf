"""What may follow a body, and what announces it."""

import pytest

from rolo.upstream.request import UpstreamRequest
from rolo.wire.hop_by_hop import interim_headers
from rolo.wire.http1 import Framing, body_decoder
from rolo.wire.target import parse_upstream
from rolo.wire.trailers import only_trailers, without_trailer_field

ORIGIN = parse_upstream("http://origin").origin

# By the classes of RFC 9110 section 6.5.1, and what is known to be merged into them.
NEVER = {
    "framing": "Transfer-Encoding Content-Length Trailer TE",
    "connections": "Connection Keep-Alive Proxy-Connection Upgrade HTTP2-Settings",
    "routing": "Host Max-Forwards Via Forwarded X-Forwarded-For X-Forwarded-Host "
    "X-Forwarded-Proto X-Forwarded-Port X-Forwarded-Prefix X-Forwarded-Server X-Real-IP",
    "request modifiers": "Expect Range If-Match If-None-Match If-Modified-Since "
    "If-Unmodified-Since If-Range Prefer Cache-Control Pragma",
    "authentication": "Authorization Proxy-Authorization WWW-Authenticate Proxy-Authenticate "
    "Authentication-Info Proxy-Authentication-Info",
    "cookies": "Cookie Set-Cookie",
    "content": "Content-Encoding Content-Type Content-Range Content-Language Content-Location",
    "control of an answer": "Age Date Expires Location Retry-After Vary Refresh Link "
    "Strict-Transport-Security Content-Security-Policy Clear-Site-Data",
    "handshakes and browsers": "Sec-WebSocket-Accept Sec-Fetch-Site Access-Control-Allow-Origin",
    "the same to CGI": "Content_Length X_Forwarded_For X_Forwarded-Proto set_cookie",
}
# Whose definitions permit it, and those that only their sender and recipient know.
MAY = "ETag Server-Timing Proxy-Status Content-Digest Repr-Digest grpc-status X-Sum Expires-At"


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("name", " ".join(NEVER.values()).split())
def test_what_steers_a_message_never_follows_its_body(name, side):
    decoder = body_decoder(Framing.CHUNKED, None, side=side)
    decoder.feed(
        b"0\r\nX-Sum: 1\r\n%b: x\r\n%b: y\r\n\r\n" % (name.encode(), name.upper().encode())
    )
    assert decoder.trailers == [(b"X-Sum", b"1")]


def test_other_fields_follow_a_body():
    fields = [(name.encode(), b"x") for name in MAY.split()]
    assert only_trailers(fields) == fields


def test_only_a_message_in_chunks_announces_trailers():
    fields = [(b"Host", b"a"), (b"trailer", b"x"), (b"Trailer", b"y"), (b"X-Trail", b"2")]
    kept = [(b"Host", b"a"), (b"X-Trail", b"2")]
    assert without_trailer_field(fields) == kept
    request = UpstreamRequest(ORIGIN, "POST", b"/", fields)
    assert request.framed_headers() == kept
    request.body = b"abc"
    assert request.framed_headers() == [*kept, (b"Content-Length", b"3")]
    request.body = object()
    assert request.framed_headers() == [*fields, (b"Transfer-Encoding", b"chunked")]
    request.length = 5
    assert request.framed_headers() == [*kept, (b"Content-Length", b"5")]


def test_interim_answers_frame_and_announce_nothing():
    fields = [(b"Content-Length", b"5"), (b"Link", b"</a>"), (b"Transfer-Encoding", b"chunked"),
              (b"Trailer", b"X"), (b"Connection", b"X-Y"), (b"X-Y", b"1")]  # fmt: skip
    assert interim_headers(fields) == [(b"Link", b"</a>")]
