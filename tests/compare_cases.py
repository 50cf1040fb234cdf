"""What ``compare.py`` asks: requests byte for byte, and what a client says on a websocket."""

from __future__ import annotations

import pathlib
import re
import typing as t

PROGRAM = pathlib.Path(__file__).with_name("compare_gateways.py")
FORWARDS = re.findall(
    r"^    ([a-z_]+),$", PROGRAM.read_text().partition("FORWARDS = ")[2].partition("]")[0], re.M
)


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
    steps = (
        "own/plain/7 own/plain/x own/conv/ABC own/conv/abc own/late/ABC own/rule own/factory/one/x "
        "own/factory/three/x own/added routes/add own/added routes/group own/added own/g/2 "
        "routes/remove own/g/2 own/added routes/remove own/added"
    )
    for number, path in enumerate(steps.split()):
        yield f"routes, step {number}: {path}", request(f"/{path}")
    yield "own rule, POST", request("/own/rule", "POST")
    files = multipart(("a", None, b"1"), ("f", "n.txt", b"file\r\n"), ("b", None, b"2"))
    large = b"a=" + b"x" * 900_000 + b"&b=" + b"y" * 50_000
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
