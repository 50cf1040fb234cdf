"""Heads that go out as the lines they came in, and heads written field by field, are the same."""

import re

import pytest
from raw_origin import RawOrigin
from wire import Wire

from rolo.gateway import Gateway
from rolo.proxy import ForwardedPolicy, ProxyHandler, RequestRules
from rolo.serving import serve
from rolo.wire.received import ReceivedFields

HOST = b"Host: a.example:1"
PLAIN = [HOST, b"User-Agent: x", b"aCCept: */*", b"Cookie: a=1", b"cookie: b=2", b"X-Obs: \xe9"]
REQUESTS = {
    "plain": (b"GET /a%20b?c=%2F&d", PLAIN, b""),
    "keep-alive": (b"GET /", [b"Connection: keep-alive", *PLAIN, b"Keep-Alive: timeout=1"], b""),
    "named by Connection": (b"GET /", [*PLAIN, b"Connection: X-A, keep-alive", b"X-A: 1"], b""),
    "trailers wanted": (b"GET /", [*PLAIN, b"TE: trailers, deflate"], b""),
    "claims of the client": (b"GET /", [*PLAIN, b"X-Forwarded-For: 1.2.3.4"], b""),
    "underscores": (b"GET /", [*PLAIN, b"X_A: 1", b"X_Forwarded_For: 1"], b""),
    "blanks around values": (b"GET /", [*PLAIN, b"A:1", b"B:  2 ", b"C:"], b""),
    "no value": (b"GET /", [*PLAIN, b"A: "], b""),
    "an odd method": (b"M-X /", PLAIN, b""),
    "an absolute target": (b"GET http://b.example/c?d", PLAIN, b""),
    "a small upload": (b"POST /", [*PLAIN, b"Content-Length: 6", b"Z: 1"], b"ab!end"),
    "an upload of nothing": (b"POST /", [*PLAIN, b"Content-Length: 0"], b""),
    "an upload in chunks": (
        b"POST /",
        [*PLAIN, b"Transfer-Encoding: chunked", b"Trailer: X"],
        b"6\r\nab!end\r\n0\r\n\r\n",
    ),
    "Trailer without chunks": (b"GET /", [*PLAIN, b"Trailer: X"], b""),
    "proxy authorization": (b"GET /", [*PLAIN, b"Proxy-Authorization: x"], b""),
    "an Expect of something else": (b"GET /", [*PLAIN, b"Expect: much"], b""),
}
ANSWERS = {
    "plain": (b"200 OK", [b"Content-Length: 6", b"Set-Cookie: a", b"set-cookie: b"], b"ab!end"),
    "keep-alive": (b"200 OK", [b"Connection: keep-alive", b"Content-Length: 6"], b"ab!end"),
    "dated": (b"200 OK", [b"Content-Length: 6", b"Date: then"], b"ab!end"),
    "no reason": (b"299", [b"Content-Length: 6"], b"ab!end"),
    "a reason of its own": (b"200 Fine", [b"Content-Length: 6"], b"ab!end"),
    "closing": (b"200 OK", [b"Connection: close", b"Content-Length: 6"], b"ab!end"),
    "in chunks": (b"200 OK", [b"Transfer-Encoding: chunked"], b"6\r\nab!end\r\n0\r\n\r\n"),
    "trailers announced": (
        b"200 OK",
        [b"Transfer-Encoding: chunked", b"Trailer: X"],
        b"6\r\nab!end\r\n0\r\nX: 1\r\n\r\n",
    ),
    "nothing to send": (b"204 No Content", [b"X: 1"], b""),
    "a length of nothing": (b"204 No Content", [b"Content-Length: 0"], b""),
    "not modified": (b"304 Not Modified", [b"Content-Length: 6", b'ETag: "a"'], b""),
    "empty": (b"200 OK", [b"Content-Length: 0"], b""),
    "blanks around values": (b"200 OK", [b"A:1", b"Content-Length:  6 "], b"ab!end"),
    "authentication of the proxy": (
        b"407 Who",
        [b"Proxy-Authenticate: x", b"Content-Length: 6"],
        b"ab!end",
    ),
}
CASES = [
    *((request, "plain") for request in REQUESTS),
    *(("plain", answer) for answer in ANSWERS if answer != "plain"),
    ("keep-alive", "keep-alive"),
    ("a small upload", "in chunks"),
]
SETTINGS = {
    "as it is": {},
    "everything said": {
        "preserve_host": False,
        "forwarded": ForwardedPolicy(forwarded=True, via="here"),
        "rules": RequestRules(underscores_in_headers=True),
    },
    "nothing said": {"forwarded": ForwardedPolicy(mode="off")},
    "a header hook": {"on_response": lambda c, response: response.headers.add("X-Edge", "1")},
    "a hook that lets pass": {"on_request": lambda context: None},
    "a hook that edits what goes out": {
        "on_outgoing": lambda c, outbound: outbound.headers.__setitem__("User-Agent", "y")
    },
}


def message(first, fields, body):
    return b"\r\n".join([first, *fields, b"", body])


class Scripted:
    """An origin that keeps what came, and sends what it is told to."""

    def __init__(self):
        self.came = []
        self.answer = b""

    def __call__(self, origin, connection, number):
        data = b""
        while True:
            while not self._whole(data):
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            self.came.append(data)
            data = b""
            connection.sendall(self.answer)

    @staticmethod
    def _whole(data):
        head, end, body = data.partition(b"\r\n\r\n")
        if b"chunked" in head:
            return body.endswith(b"0\r\n\r\n")
        return bool(end) and (b"Content-Length: 6" not in head or body.endswith(b"!end"))


def passed(settings):
    """Return what reached the origin and the client in each case."""
    script = Scripted()
    came, sent = [], []
    with (
        RawOrigin(script) as origin,
        serve(Gateway([ProxyHandler(origin.url, **settings)]), mode="loop") as server,
    ):
        for request, answer in CASES:
            line, fields, body = REQUESTS[request]
            status, answered, content = ANSWERS[answer]
            script.answer = message(b"HTTP/1.1 " + status, answered, content)
            with Wire(server.url) as wire:
                wire.send(message(line + b" HTTP/1.1", fields, body))
                marks = [b"\r\n\r\n"]
                if content:
                    marks.append(b"0\r\n" if b"chunked" in answered[0] else b"!end")
                got = b"".join(wire.read_until(mark) for mark in marks)
            came.append(script.came.pop().replace(origin.url[7:].encode(), b"the origin"))
            sent.append(re.sub(rb"Date: \w+, [^\r]*", b"Date: now", got))
    return came, sent


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_head_passed_on_by_lines_is_the_one_written_field_by_field(settings, monkeypatch):
    by_lines = passed(settings)
    read = ReceivedFields.__init__
    monkeypatch.setattr(
        ReceivedFields, "__init__", lambda fields, pairs, lines=None: read(fields, pairs, None)
    )
    by_fields = passed(settings)
    for case, *both in zip(CASES, *by_lines, *by_fields, strict=True):
        assert both[:2] == both[2:], case


def test_a_small_upload_that_has_come_whole_goes_on_in_one_piece():
    pieces = []
    with (
        RawOrigin(lambda origin, connection, number: one_read(connection, pieces)) as origin,
        serve(Gateway([ProxyHandler(origin.url)]), mode="loop") as server,
        Wire(server.url) as wire,
    ):
        wire.send(message(b"POST / HTTP/1.1", [HOST, b"Content-Length: 6"], b"ab!end"))
        assert wire.answer().status == 204
    assert pieces[0].endswith(b"\r\n\r\nab!end")


def one_read(connection, pieces):
    pieces.append(connection.recv(65536))
    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    connection.recv(1)
