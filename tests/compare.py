"""Ask gateways on rolo 0.8.9 and on this tree the same, and list every difference.

``make compare``, or ``python tests/compare.py [SERVER ...]``, SERVER being hypercorn, werkzeug or
twisted. The registry's 0.8.9 goes into an environment of its own, ``.compare``; the program that
both run is ``compare_gateways.py``. Each difference must be one that the table of
docs/compatibility.md tells of: ``KNOWN`` says by which row. Ends with 1 if there is another one.
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import http.server
import json
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import typing as t

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".compare"
PACKAGES = ["rolo==0.8.9", "hypercorn==0.18.0", "twisted>=24", "pydantic>=2.7"]
PROGRAM = pathlib.Path(__file__).with_name("compare_gateways.py")
TABLE = ROOT / "docs" / "compatibility.md"
SERVERS = ("hypercorn", "werkzeug", "twisted")
DEADLINE = 5.0


class Difference(t.NamedTuple):
    """What one answer had otherwise."""

    server: str
    case: str
    aspect: str
    old: t.Any
    new: t.Any


class Known(t.NamedTuple):
    """Differences that one row of the table tells of."""

    row: str
    """How its first cell begins."""
    case: str = ""
    """An expression for the names of cases, and so on."""
    aspect: str = ""
    old: str = ""
    new: str = ""
    server: str = ""

    def tells_of(self, difference: Difference) -> bool:
        return all(
            re.search(pattern, str(value), re.S)
            for pattern, value in (
                (self.server, difference.server),
                (self.case, difference.case),
                (self.aspect, difference.aspect),
                (self.old, difference.old),
                (self.new, difference.new),
            )
        )


PROXIED = r"(prox|/forward/|^by|^mutate )"
KNOWN = [
    Known("an error that no handler", r"GET /(strange|fails|chain/fails)$"),
    Known("an error that leaves the chain", r"GET /chain/throw$"),
    Known("a body that fails half way", r"/fails_late$"),
    Known("`WerkzeugExceptionHandler`", aspect=r"^field allow$"),
    Known("`WerkzeugExceptionHandler`", aspect=r"^names$", new="Allow|allow"),
    Known("`WerkzeugExceptionHandler`", aspect=r"^field content-type$", old="html", new="json"),
    Known("invalid JSON for a pydantic", r"^(/typed(_default)? (\{|a=b)|typed, a form)$"),
    Known("a pydantic endpoint with", r"^/typed_default $"),
    Known("`//` in a path", r"^GET (/echo//a|/seg/a//b|/tail/a//b|/proxy//a)$"),
    Known("what follows a `;`", r";b=c$"),
    Known("`get_raw_base_url`", r"^GET //echo/a$", r"raw_base_url$"),
    Known("`HEAD` and `GET` rules", r"^HEAD /headed$"),
    Known("rules without a host", r"^host a_b"),
    Known("a plain request with the method `WEBSOCKET`", r"\bWEBSOCKET$"),
    Known("Content-Length beside", r"^length and chunks$"),
    Known("transfer codings", r"^unknown coding$"),
    Known("`HTTP_*` variables of repeated", r" \+ ", r"environ\.HTTP_"),
    Known("`HTTP_*` variables of fields with", r"^field .*_", r"environ\."),
    Known("request fields with an underscore", r"^proxied field .*_", r"(field|name) .*[_-]"),
    Known(
        "`restore_payload` of a form",
        r"^(form|payload|POST|PUT|large|chunked|h2 form)",
        r"^body(\.payload)?$",
    ),
    Known("fields that `requests` adds", r"^by handler", r"^body\.(FIELDS|NAMES)$", r"ACCEPT"),
    Known("websockets through", r"^ws to a proxy$"),
    Known("an error inside", r"^ws fails$", r"^heard"),
    Known("a body that a handler has begun", r"^mutate read"),
    Known("`request.headers` replaced", r"^mutate new-headers", r"content-type$"),
    Known("`request.method` set", r"^mutate method, ", r"^body\.method$"),
    Known("a request without Host", r"^by forwarded_anew"),
    Known("variables of a request on Twisted", aspect=r"environ\.", server="twisted"),
    Known("a target in absolute form on Twisted", r"^absolute target$", server="twisted"),
    Known("HTTP/1.1 without Host", r"^no host$", server="twisted"),
    Known("`OPTIONS *` on Twisted", r"^asterisk$", server="twisted"),
    Known("refusals of Twisted", r"^two lengths$", server="twisted"),
    Known(
        "`Connection: close` on Twisted",
        aspect=r"connection|names",
        new=r"lose|onnection",
        server="twisted",
    ),
    Known("100 (Continue) on Twisted", r"xpect", r"^interim$", server="twisted"),
    Known("a websocket handler that returns", r"^ws ", r"^heard", r"end", r"1000", "twisted"),
    Known("a handshake that nobody answers on Twisted", r"^ws unanswered", server="twisted"),
    Known("redirects of an upstream", r"/answer/redirect$"),
    Known("dead or slow upstream", r"/dead/x$"),
    Known(
        "hop-by-hop",
        PROXIED,
        r"(keep-alive|proxy-connection|[ .]te|connection)$",
    ),
    Known("hop-by-hop", r"/answer/(hop|close)$|^HEAD /proxy/answer/chunks$"),
    Known(
        "Content-Type of an answer",
        PROXIED,
        r"^(field content-type|names)$",
    ),
    Known("reason phrase", PROXIED, r"^reason$"),
    Known("`X-Forwarded-Host`", PROXIED, r"x-forwarded-host$"),
    Known(
        "fields that `requests` adds",
        PROXIED,
        r"(accept|accept-encoding|user-agent|connection)$",
    ),
    Known(
        "fields that `requests` adds",
        PROXIED,
        r"content-length$",
        r"0|Content-Length",
        r"None",
    ),
    Known("cookie jar", PROXIED, r"(field|name) cookie$"),
    Known("repeated fields", r"^proxied.* \+ ", r"field "),
    Known(
        "form bodies through a proxy",
        r"^(proxied form|(POST|PUT) (multipart|empty form)|large|chunked form|h2 form)",
        r"^body\.(body|size|field content-length)$",
    ),
    Known(
        "form bodies through a proxy",
        r"proxied form",
        r"name content-length",
    ),
    Known(
        "bodies through a proxy",
        PROXIED,
        r"(content-length|transfer-encoding)$",
    ),
    Known("the target of a request", PROXIED, r"^body\.target$", new=r"\.\./|%20|%zz|\?$"),
    Known("a target in absolute form", r"^absolute target, proxied$", r"(field|name) host$"),
    Known("the method of a request", r"\bget$", r"^body\.method$"),
    Known("the case of field names", PROXIED, r"^body\.name "),
]


FORWARDS = re.findall(
    r"^    ([a-z_]+),$", PROGRAM.read_text().partition("FORWARDS = ")[2].partition("]")[0], re.M
)


# Requests --------------------------------------------------------------------------------------


def request(
    target: str,
    method: str = "GET",
    body: bytes | None = None,
    *fields: str,
    host: str | None = "example.org",
    version: str = "1.1",
) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", *([f"Host: {host}"] if host else []), *fields]
    if body is not None and not any(f.lower().startswith("transfer-enc") for f in fields):
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def multipart(*parts: tuple[str, str | None, bytes]) -> bytes:
    body = b""
    for name, file, value in parts:
        where = f'; filename="{file}"' if file else ""
        body += f'--XX\r\nContent-Disposition: form-data; name="{name}"{where}\r\n'.encode()
        body += (b"Content-Type: text/plain\r\n" if file else b"") + b"\r\n" + value + b"\r\n"
    return body + b"--XX--\r\n"


FORM = "Content-Type: application/x-www-form-urlencoded"
MULTIPART = "Content-Type: multipart/form-data; boundary=XX"
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"


def http1_cases() -> t.Iterator[tuple[str, bytes]]:
    for method in [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "OPTIONS",
        "TRACE",
        "PROPFIND",
        "get",
        "WEBSOCKET",
    ]:
        yield f"method {method}", request("/echo/x", method)
        yield f"proxied method {method}", request("/proxy/x", method)
        yield f"get only, {method}", request("/get-only", method)
        if method not in ("GET", "HEAD", "TRACE"):
            yield f"body with {method}", request("/echo/x", method, b"some bytes")
            yield f"form with {method}", request("/form", method, b"a=1&b=%20&a=2", FORM)
            yield f"payload of a form with {method}", request("/payload", method, b"a=1&b=2", FORM)
            yield f"proxied form with {method}", request("/proxy/f", method, b"a=1&b=+&a=2", FORM)
            yield f"chunks with {method}", request("/echo/x", method, chunked(b"a", b"bc"), CHUNKED)
    paths = (
        "/echo/a%20b /echo/a%2Fb /echo/a%2fb /echo/%C3%A4 /echo/%E4 /echo/a+b /echo//a /echo/a//b "
        "/echo/a/ /echo/a// //echo/a /echo/../x /echo/./x /echo/a;b=c /echo/a;b/c /echo/a:b@c,d "
        "/echo/~a /echo/%7Ea /echo/%41 /echo/%25 /echo/%2525 /echo/a%00b /echo /echo/ / // "
        "/echo/http://h/x /echo/?x=1 /echo/x?a=1&a=2&b /echo/x?a=%20+%C3%A4 /echo/x? /echo/x??a "
        "/echo/x?a=b?c=d /echo/x?a=/b//c /echo/x?%41=%61 /echo/x?a;b /seg/a/b /seg/a/b/ /seg/a//b "
        "/seg/a%2Fb/c /seg/a/b%20c /tail/a/b/c /tail/a//b /tail/a/b//c/ /re/abc /re/abd /slash "
        "/slash/ /slash// /things /things/ /things/1 /things/a%20b /methods /absent /ws/echo "
        "/proxy /proxy/ /proxy/a/b /proxy/a%2Fb /proxy/a%20b /proxy//a /proxy/a//b /proxy/a/../b "
        "/proxy/a?b=c&d=%20 /proxy/a? /proxy/%C3%A4 /proxy/a;b=c /proxy/a/ /forward/a%2Fb "
        "/forward/a//b?x=1 /echo/%zz /echo/% /echo/a%2 /proxy/%zz /echo/x?%zz /text /bytes /list "
        "/none /strange /fields /pieces /redirect /fails /conflicts /missing /fails_late /dead/x "
        "/status/200 /status/204 /status/304 /status/404 /status/418 /status/500 /status/599 "
        "/status/299 /proxy/answer/redirect /proxy/answer/cookies /proxy/answer/gzip "
        "/proxy/answer/chunks /proxy/answer/204 /proxy/answer/304 /proxy/answer/404 "
        "/proxy/answer/500 /proxy/answer/hop /proxy/answer/close /proxy/answer/empty "
        "/chain/respond /chain/none /chain/stream /chain/stop /chain/terminate /chain/throw "
        "/chain/conflict /chain/fails /chain/old /chain/zero"
    )
    for path in paths.split():
        yield f"GET {path}", request(path)
    for path in [
        "/text",
        "/fields",
        "/pieces",
        "/proxy/x",
        "/proxy/answer/chunks",
        "/headed",
        "/missing",
    ]:
        yield f"HEAD {path}", request(path, "HEAD")
    for method in ("POST", "DELETE"):
        yield f"{method} /methods", request("/methods", method)
        yield f"{method} /things/1", request("/things/1", method)
    for field in (
        "X-One: 1",
        "x-ONE: 1",
        "X-One: a\r\nX-One: b",
        "X-One:   spaces   ",
        "X-One:",
        "X_One: underscore",
        "Content_Length: 5",
        "X-One: caf\xe9",
        "X-One: a, b\r\nX-Two: c",
        "Cookie: a=1; b=2",
        "Cookie: a=1\r\nCookie: b=2",
        "X-Replace: yes",
        "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https",
        "Accept: */*\r\nAccept-Encoding: gzip\r\nUser-Agent: me",
        "Expect: 100-continue",
        "TE: trailers",
        "Proxy-Connection: keep-alive\r\nKeep-Alive: 5",
        "Range: bytes=0-1\r\nIf-Match: x",
        "Authorization: Basic YTpi",
    ):
        name = field.replace("\r\n", " + ").encode("ascii", "replace").decode()
        yield f"field {name}", request("/echo/x", "GET", None, field)
        yield f"proxied field {name}", request("/proxy/x", "GET", None, field)
    for host in [
        "example.org:8080",
        "named.example",
        "named.example:99",
        "b.store.example",
        "a_b.example",
    ]:
        for path in ("/host", "/in", "/echo/x"):
            yield f"host {host} {path}", request(path, host=host)
    yield "no host, HTTP/1.0", request("/echo/x", host=None, version="1.0")
    yield "HTTP/1.0", request("/echo/x", version="1.0")
    yield "HTTP/1.0, pieces", request("/pieces", version="1.0")
    yield "no host", request("/echo/x", host=None)
    yield "absolute target", request("http://other.example/echo/a%2Fb?x=1")
    yield "absolute target, proxied", request("http://other.example/proxy/a%2Fb?x=1")
    yield "asterisk", request("*", "OPTIONS")
    for kind in [
        "headers",
        "new-headers",
        "target",
        "path",
        "query",
        "method",
        "method-variable",
        "host",
        "stream",
        "data",
        "read",
        "parsed",
    ]:
        for path in ("mutate", "mutated"):
            fields = ("X-One: 1", "X-Gone: 1", FORM if kind == "parsed" else "Content-Type: text/x")
            target = f"/{path}/{kind}?a=%20b"
            yield f"{path} {kind}, POST", request(target, "POST", b"a=1&b=2", *fields)
            yield f"{path} {kind}, GET", request(target, "GET", None, *fields)
    for name in (*FORWARDS, "handler/a%2Fb"):
        yield f"by {name}, GET", request(f"/by/{name}?x=1", "GET", None, "X-One: 1")
        yield f"by {name}, POST", request(f"/by/{name}?x=1", "POST", b"some bytes", "X-One: 1")
    files = multipart(("a", None, b"1"), ("f", "n.txt", b"file\r\n"), ("b", None, b"2"))
    large = b"a=" + b"x" * 400_000 + b"&b=" + b"y" * 50_000
    huge = multipart(("a", None, b"x" * 400_000), ("f", "n.bin", b"z" * 900_000))
    for path in ("/form", "/payload", "/proxy/m", "/echo/x"):
        for method in ("POST", "PUT"):
            yield f"{method} multipart {path}", request(path, method, files, MULTIPART)
            yield f"{method} empty form {path}", request(path, method, b"", FORM)
        yield f"large form {path}", request(path, "POST", large, FORM)
        yield f"large multipart {path}", request(path, "POST", huge, MULTIPART)
        yield f"chunked form {path}", request(path, "POST", chunked(b"a=1", b"&b=2"), FORM, CHUNKED)
        yield f"chunked PUT {path}", request(path, "PUT", chunked(b"1" * 70_000), CHUNKED)
        yield f"expecting {path}", request(path, "POST", b"body", "Expect: 100-continue")
    yield "stream", request("/stream", "POST", b"12345" + b"6" * 200_000)
    yield "stream of chunks", request("/stream", "POST", chunked(b"123", b"45", b"678"), CHUNKED)
    yield "proxied stream", request("/proxy/x", "POST", b"6" * 2_000_000)
    for body in (b"", b"{", b'{"name": "a"}', b'{"price": 1}', b"[]", b'{"name": 1}', b"a=b"):
        for path in ("/typed", "/typed_default"):
            yield f"{path} {body.decode()}", request(path, "POST", body, JSON)
    yield "typed, a form", request("/typed", "POST", b"a=b", FORM)
    yield "two lengths", request("/echo/x", "POST", b"ab", "Content-Length: 2")
    yield (
        "length and chunks",
        request("/echo/x", "POST", chunked(b"ab"), "Content-Length: 2", CHUNKED),
    )
    yield "unknown coding", request("/echo/x", "POST", b"ab", "Transfer-Encoding: gzip, chunked")


# Answers ---------------------------------------------------------------------------------------


def ask_http1(port: int, sent: bytes) -> dict[str, t.Any]:
    """Return the answer to ``sent``, taken apart."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(sent)
        try:
            while piece := sock.recv(1 << 20):
                received += piece
        except TimeoutError:
            return {"end": "nothing for 5 seconds"}
        except OSError:
            pass
    interim = []
    while received.startswith(b"HTTP/1.1 1"):
        head, _, received = received.partition(b"\r\n\r\n")
        interim.append(head.split()[1].decode())
    if not received:
        return {"end": "no answer"}
    head, _, body = received.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    fields = [tuple(each.split(": ", 1)) if ": " in each else (each, "") for each in lines]
    answer = described(line.split()[1], fields, body)
    answer["reason"] = line.partition(" ")[2].partition(" ")[2]
    answer["interim"] = interim
    return answer


def described(status: str, fields: t.Sequence[tuple[str, ...]], body: bytes) -> dict[str, t.Any]:
    answer: dict[str, t.Any] = {"status": status}
    lowered = {name.lower().rstrip(":"): value for name, value in fields}
    framing = lowered.get("transfer-encoding", "")
    if framing == "chunked":
        body, whole = unchunked(body)
        if not whole:
            answer["end"] = "cut short"
    elif "content-length" in lowered and len(body) < int(lowered["content-length"]):
        answer["end"] = "without its body" if not body else "cut short"
    answer["framing"] = framing or ("length" if "content-length" in lowered else "none")
    answer["names"] = sorted(n for n, _ in fields if n.lower() not in ("date", "server"))
    values = collections.defaultdict(list)
    for name, value in fields:
        if name.lower() not in ("date", "server", "content-length", "transfer-encoding"):
            values[name.lower()].append(value)
    answer |= {f"field {name}": value for name, value in values.items()}
    answer |= flattened("body", body)
    return answer


def unchunked(body: bytes) -> tuple[bytes, bool]:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length:
            return whole, True
        whole += rest[:length]
        body = rest[length + 2 :]
    return whole, False


def flattened(name: str, body: bytes) -> dict[str, t.Any]:
    """Return ``body`` under ``name``, or each member of it if it is a JSON object."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return {name: body[:2000].decode("latin-1") + (f"... {len(body)}" if body[2000:] else "")}
    result: dict[str, t.Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            result |= {f"{name}.{key}.{k}": v for k, v in value.items()}
        elif key == "names":
            result |= {f"{name}.name {each.lower()}": each for each in value}
        elif key == "fields":
            for field, _ in value:
                result[f"{name}.field {field}"] = [v for n, v in value if n == field]
        else:
            result[f"{name}.{key}"] = value
    return result


def h2_cases() -> t.Iterator[tuple[str, list[tuple[str, str]], bytes | None]]:
    for path in [
        "/echo/a%2Fb?x=1",
        "/fields",
        "/pieces",
        "/status/204",
        "/status/404",
        "/proxy/a%20b",
        "/typed",
        "/absent",
        "/proxy/answer/cookies",
        "/proxy/answer/chunks",
        "/fails",
        "/chain/respond",
        "/text",
        "/none",
        "/redirect",
    ]:
        yield f"h2 GET {path}", [(":method", "GET"), (":path", path)], None
    yield "h2 HEAD", [(":method", "HEAD"), (":path", "/text")], None
    for path in ("/echo/x", "/form", "/proxy/x", "/stream", "/payload"):
        fields = [(":method", "POST"), (":path", path)]
        yield f"h2 POST {path}", fields, b"a=1&b=2"
        form = ("content-type", "application/x-www-form-urlencoded")
        yield f"h2 form {path}", [*fields, form], b"a=1&b=2"
        yield f"h2 length {path}", [*fields, ("content-length", "5")], b"12345"
    for name, value in (("x-one", "1"), ("cookie", "a=1; b=2"), ("te", "trailers")):
        yield f"h2 field {name}", [(":method", "GET"), (":path", "/echo/x"), (name, value)], None


def ask_h2(port: int, head: list[tuple[str, str]], body: bytes | None) -> dict[str, t.Any]:
    import h2.config
    import h2.connection
    import h2.events

    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
    connection.initiate_connection()
    pseudo = [(":scheme", "http"), (":authority", "example.org")]
    fields = [*(f for f in head if f[0][0] == ":"), *pseudo, *(f for f in head if f[0][0] != ":")]
    connection.send_headers(1, fields, end_stream=body is None)
    if body is not None:
        connection.send_data(1, body, end_stream=True)
    received, answer, interim = b"", None, []
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as sock:
        sock.sendall(connection.data_to_send())
        while True:
            try:
                data = sock.recv(65536)
            except TimeoutError:
                return {"end": "nothing for 5 seconds"}
            if not data:
                return {"end": "no answer"}
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    answer = event.headers
                elif isinstance(event, h2.events.InformationalResponseReceived):
                    interim.append(event.headers[0][1])
                elif isinstance(event, h2.events.DataReceived):
                    received += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, 1)
                elif isinstance(event, h2.events.StreamReset):
                    return {"end": f"reset {event.error_code!r}"}
                elif isinstance(event, h2.events.StreamEnded):
                    assert answer
                    status, *rest = answer
                    return described(status[1], rest, received) | {"interim": interim}
            sock.sendall(connection.data_to_send())


def websocket_cases() -> t.Iterator[tuple[str, str, list[tuple[str, str]], list[t.Any]]]:
    """Names, paths, fields, and what the client says: messages, ``(code, reason)`` to close,
    ``None`` to wait for something."""
    yield "ws text", "/ws/echo", [], ["häl", None, (1000, "")]
    yield "ws binary", "/ws/echo", [], [b"\x00\xff", None, (1000, "")]
    yield "ws empty", "/ws/echo", [], ["", None, b"", None, (1000, "")]
    yield "ws large", "/ws/echo", [], ["x" * 200_000, None, (1000, "")]
    yield "ws close with a code", "/ws/listens", [], ["m", (4321, "why"), None]
    yield "ws close without one", "/ws/listens", [], [(1005, ""), None]
    yield (
        "ws argument",
        "/ws/arg/a%20b?q=1",
        [("Sec-WebSocket-Protocol", "chat, other")],
        [None] * 2,
    )
    yield "ws unanswered", "/ws/unanswered", [], []
    yield "ws closes", "/ws/closes", [], [None, None]
    yield "ws fails", "/ws/fails", [], [None]
    yield "ws rejects", "/ws/rejects", [], []
    yield "ws headers", "/ws/headers", [("X-One", "1")], [None, None]
    yield "ws absent", "/ws/absent", [], []
    yield "ws on a plain route", "/text", [], []
    yield "ws to a proxy", "/proxy/x", [], []


def ask_websocket(
    port: int, path: str, fields: list[tuple[str, str]], script: list[t.Any]
) -> dict[str, t.Any]:
    from wsproto import events as ws
    from wsproto.connection import Connection, ConnectionType

    key = base64.b64encode(b"0123456789abcdef").decode()
    names = {"Host": "example.org", "Connection": "Upgrade", "Upgrade": "websocket"}
    names |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key, **dict(fields)}
    lines = [f"GET {path} HTTP/1.1", *(f"{n}: {v}" for n, v in names.items()), "", ""]
    heard: list[t.Any] = []
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as sock:
        sock.sendall("\r\n".join(lines).encode())
        received = b""
        while b"\r\n\r\n" not in received:
            piece = sock.recv(65536)
            if not piece:
                return {"end": "no answer"}
            received += piece
        head, _, rest = received.partition(b"\r\n\r\n")
        line, *texts = head.decode("latin-1").split("\r\n")
        found = [tuple(each.split(": ", 1)) for each in texts]
        status = line.split()[1]
        if status != "101":
            lowered = {name.lower(): value for name, value in found}
            length = int(lowered.get("content-length", 0))
            chunks = "transfer-encoding" in lowered
            while (len(rest) < length) if not chunks else not rest.endswith(b"0\r\n\r\n"):
                rest += sock.recv(65536)
            return described(status, found, rest)
        answer = described(status, found, b"")
        frames = Connection(ConnectionType.CLIENT)
        frames.receive_data(rest)
        for step in script:
            if step is None:
                heard.append(next_message(sock, frames))
                continue
            if isinstance(step, tuple):
                closing = None if step[0] == 1005 else step[0]
                sock.sendall(
                    frames.send(ws.CloseConnection(code=closing or 1005, reason=step[1] or None))
                )
            elif isinstance(step, str):
                sock.sendall(frames.send(ws.TextMessage(step)))
            else:
                sock.sendall(frames.send(ws.BytesMessage(step)))
    return answer | {f"heard {number}": each for number, each in enumerate(heard)}


def next_message(sock: socket.socket, frames: t.Any) -> t.Any:
    from wsproto import events as ws

    whole = ""
    while True:
        for event in frames.events():
            if isinstance(event, ws.CloseConnection):
                return ["close", int(event.code), event.reason or ""]
            if isinstance(event, ws.Message):
                whole += event.data if isinstance(event.data, str) else event.data.decode("latin-1")
                if event.message_finished:
                    return [type(event).__name__, whole[:200], len(whole)]
        try:
            data = sock.recv(65536)
        except TimeoutError:
            return "nothing for 5 seconds"
        except OSError:
            return "reset"
        if not data:
            return "end"
        frames.receive_data(data)


# Who is asked ----------------------------------------------------------------------------------


class Origin(http.server.BaseHTTPRequestHandler):
    """Tells what it got; below ``/answer/`` it has answers of its own."""

    protocol_version = "HTTP/1.1"
    FIELDS: t.ClassVar[dict[str, list[tuple[str, str]]]] = {
        "redirect": [("Location", "/elsewhere")],
        "cookies": [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/"), ("X-mIxed", "1")],
        "gzip": [("Content-Encoding", "gzip"), ("Content-Type", "text/plain")],
        "hop": [("Keep-Alive", "5"), ("Proxy-Connection", "x"), ("X-Kept", "1")],
    }

    def answer(self) -> None:
        body = self.read_body()
        if "/answer/" in self.path:
            self.special(self.path.rpartition("/")[2])
            return
        document = {
            "method": self.command,
            "target": self.path,
            "names": sorted(self.headers.keys()),
            "fields": sorted([name.lower(), value] for name, value in self.headers.items()),
            "body": body[:300].decode("latin-1"),
            "size": len(body),
        }
        self.send(200, json.dumps(document).encode(), [("Content-Type", "application/json")])

    def read_body(self) -> bytes:
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            body = b""
            while length := int(self.rfile.readline(), 16):
                body += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def special(self, kind: str) -> None:
        if kind == "chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else chunked(b"one", b"two"))
        elif kind == "close":
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")
        else:
            status = 302 if kind == "redirect" else int(kind) if kind.isdigit() else 200
            empty = kind in ("204", "304", "empty")
            zipped = base64.b64decode("H4sIAAAAAAAAA8tIzcnJVyjPL8pJAQCFEUoNCwAAAA==")
            body = b"" if empty else zipped if kind == "gzip" else b"its own"
            self.send(status, body, self.FIELDS.get(kind, []))

    def send(self, status: int, body: bytes, fields: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer
    do_TRACE = do_PROPFIND = do_get = do_WEBSOCKET = answer

    def log_message(self, format: str, *args: t.Any) -> None:
        pass


@contextlib.contextmanager
def origin() -> t.Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def gateways(python: str, path: str | None, server: str, upstream: str) -> t.Iterator[int]:
    """Run the program; gives its port.

    :param path: a tree to import rolo from; ``None``: what ``python`` has installed
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [python, "-W", "ignore", str(PROGRAM), server, str(port), upstream],
        stdin=subprocess.PIPE,
        env={"PYTHONPATH": path} if path else {},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=HOME,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    errors: list[bytes] = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()))
    reader.start()
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(b"".join(errors).decode()[-2000:]) from None
                time.sleep(0.1)
        yield port
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        process.stderr.close()


def old_python() -> str:
    """Return the Python that has 0.8.9, made if need be."""
    python = HOME / "bin" / "python"
    if not (HOME / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES], check=True)
        (HOME / ".installed").touch()
    return str(python)


def answers(server: str, port: int) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    for name, sent in http1_cases():
        yield name, ask_http1(port, sent)
    if server == "werkzeug":
        return  # it speaks neither
    for name, head, body in h2_cases():
        yield name, ask_h2(port, head, body)
    for name, path, fields, script in websocket_cases():
        yield name, ask_websocket(port, path, fields, script)
    # What the handlers were told of the clients' closes.
    yield "ws codes", ask_http1(port, request("/chain/closed"))


def differences(server: str, old: int, new: int) -> t.Iterator[Difference]:
    for (name, before), (_, after) in zip(answers(server, old), answers(server, new), strict=True):
        for aspect in sorted(before.keys() | after.keys()):
            was, now = (
                re.sub(rf"\b{port}\b", "PORT", json.dumps(answer.get(aspect)))
                for answer, port in ((before, old), (after, new))
            )
            if was != now:
                yield Difference(server, name, aspect, json.loads(was), json.loads(now))


def rows() -> list[str]:
    """Return the first cells of the table."""
    lines = TABLE.read_text().splitlines()
    return [line[2:].split(" | ")[0] for line in lines if re.match(r"\| (?!where )", line)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--all", action="store_true", help="list what the table tells of, too")
    parser.add_argument("servers", nargs="*", metavar="SERVER")
    options = parser.parse_args()
    if strange := set(options.servers) - set(SERVERS):
        parser.error(f"no such server: {', '.join(sorted(strange))}")
    try:
        python = old_python()
    except subprocess.CalledProcessError as exc:
        print(f"nothing to compare with: {exc}")
        return 0
    unknown = 0
    used: set[Known] = set()
    with origin() as upstream:
        for server in options.servers or SERVERS:
            try:
                with (
                    gateways(python, None, server, upstream) as old,
                    gateways(sys.executable, str(ROOT), server, upstream) as new,
                ):
                    count = 0
                    for each in differences(server, old, new):
                        count += 1
                        known = [row for row in KNOWN if row.tells_of(each)]
                        used.update(known[:1])
                        unknown += not known
                        if options.all or not known:
                            tell(each, known)
                    print(f"{server}: {count} differences")
            except RuntimeError as exc:
                print(f"{server} skipped: {str(exc).strip().splitlines()[-1]}")
    missing = [row.row for row in KNOWN if not any(each.startswith(row.row) for each in rows())]
    for row in missing:
        print(f"not in the table: {row}")
    for row in KNOWN:
        if row not in used and not options.servers:
            print(f"no longer a difference: {row}")
    print(f"{unknown} differences that the table does not tell of")
    return unknown > 0 or bool(missing)


def tell(difference: Difference, known: list[Known]) -> None:
    print(f"{difference.server} | {difference.case} | {difference.aspect}")
    print(f"    0.8.9: {str(difference.old)[:300]}")
    print(f"    now:   {str(difference.new)[:300]}")
    if known:
        print(f"    as in: {known[0].row}")


if __name__ == "__main__":
    sys.exit(main())
