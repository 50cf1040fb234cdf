"""Nothing that a peer sends costs more than in proportion to its size, nor stays for ever.

Each case is given inputs of n and of 4n bytes, some beyond the limits that are set. Linear
work grows fourfold, quadratic work sixteenfold. What is measured is CPU time of this thread,
the least of several runs: a busy machine makes both slow, and never one alone five times.
"""

import functools
import gc
import importlib
import pkgutil
import time
import tracemalloc
from urllib.parse import unquote

import pytest
from werkzeug.exceptions import HTTPException

import rolo
from rolo.asgi.environ import head_from_scope
from rolo.bridge.downstream import RequestHead
from rolo.bridge.environ import wsgi_environ
from rolo.config import values
from rolo.errors import BadRequest, RoloError
from rolo.proxy.forwarded_fields import ForwardedPolicy
from rolo.proxy.helpers.auth import parse_basic_auth
from rolo.proxy.helpers.locations import rewrite_cookie, rewrite_refresh, rewrite_url
from rolo.proxy.helpers.paths import add_prefix, strip_prefix
from rolo.proxy.outgoing import outgoing_headers, outgoing_request, raw_tail
from rolo.proxy.request_rules import has_dot_segment
from rolo.request import Request, get_raw_path
from rolo.response import Response
from rolo.routing import Router
from rolo.wire import http1
from rolo.wire.admission import admit
from rolo.wire.content_codings import parse_codings
from rolo.wire.fields import HeaderFields
from rolo.wire.handshake import subprotocols
from rolo.wire.hop_by_hop import end_to_end, response_headers
from rolo.wire.proxy_status import check_name, proxy_status
from rolo.wire.target import join_target, parse_upstream, split_target

N = 64 * 1024
LINEAR = 4
# Caches and the like cost some, but not this; two thirds of the work may be linear.
TOO_MUCH = 8
# Seconds that are not worth a look.
NOTHING = 0.001
ATTEMPTS = 5

NO_LIMITS = http1.HeadLimits(1 << 40, 1 << 30, 1 << 40)
UPSTREAM = parse_upstream("http://origin:9000/base")
CASES = {}


def case(name):
    """Add a function of a size, which returns what is to be measured."""

    def add(make):
        CASES[name] = make
        return make

    return add


def measured(run):
    started = time.thread_time()
    try:
        run()
    except (RoloError, ValueError, HTTPException):
        pass  # to refuse must not cost more either
    return time.thread_time() - started


# --- heads ------------------------------------------------------------------------------

LINES = {
    "many fields": lambda n: b"X-Y: z\r\n" * (n // 8),
    "one long value": lambda n: b"X: " + b"v" * n + b"\r\n",
    "one long name": lambda n: b"X" * n + b": v\r\n",
    "a name without a colon": lambda n: b"X" * n + b"\r\n",
    "blanks at the end": lambda n: b"X: v" + b" \t" * (n // 2) + b"\r\n",
    "blanks alone": lambda n: b"X:" + b" \t" * (n // 2) + b"\r\n",
    "blanks within": lambda n: b"X: a" + b" " * n + b"b\r\n",
    "lines with blanks at the end": lambda n: b"X: v \r\n" * (n // 7),
    "folded lines": lambda n: b"X: a\r\n" + b" b\r\n" * (n // 4),
    "bare line feeds": lambda n: b"X: a\n" * (n // 5) + b"\r\n",
    "bare returns": lambda n: b"X: " + b"\r" * n + b"\r\n",
    "no colon": lambda n: b"x\r\n" * (n // 3),
    "nothing but colons": lambda n: b":" * n + b"\r\n",
    "a bad last line": lambda n: b"X: v\r\n" * (n // 6) + b"\0\r\n",
    "connection options": lambda n: b"Connection: " + b"a," * (n // 2) + b"\r\n",
    "connection lines": lambda n: b"".join(b"Connection: x%d\r\n" % i for i in range(n // 17)),
    "lengths": lambda n: b"Content-Length: 1\r\n" * (n // 19),
    "a long length": lambda n: b"Content-Length: " + b"1" * n + b"\r\n",
    "codings": lambda n: b"Transfer-Encoding: a\r\n" * (n // 22),
    "codings in one line": lambda n: b"Transfer-Encoding: " + b"a," * (n // 2) + b"\r\n",
    "expectations": lambda n: b"Expect: a,,\r\n" * (n // 13),
    "hosts": lambda n: b"Host: a\r\n" * (n // 9),
    "a long host": lambda n: b"Host: " + b"a." * (n // 2) + b"\r\n",
    "a host of brackets": lambda n: b"Host: " + b"[" * n + b"\r\n",
    "upgrades": lambda n: b"Connection: upgrade\r\n" + b"Upgrade: a\r\n" * (n // 12),
    "cookies": lambda n: b"Cookie: a=b; c=d\r\n" * (n // 18),
    "te": lambda n: b"TE: a;b,\r\n" * (n // 10),
    "forwarded": lambda n: b"X-Forwarded-For: ,\r\nForwarded: ;\r\n" * (n // 35),
    "underscores": lambda n: b"".join(b"x_%d: y\r\n" % i for i in range(n // 11)),
}  # fmt: skip


def fields(lines):
    """What a server that checks nothing would make of the lines."""
    return [
        (name, value.strip(b" \t"))
        for name, _, value in (line.partition(b":") for line in lines.split(b"\r\n") if line)
    ]


def scope_of(lines, path=b"/"):
    return {
        "type": "http",
        "path": path.decode("latin-1"),
        "raw_path": path,
        "headers": [(name.lower(), value) for name, value in fields(lines)],
    }


def head_of(lines, target=b"/"):
    return RequestHead(
        method="GET",
        target=target,
        headers=fields(lines),
        http_version="1.1",
        scheme="http",
        path=target.decode("latin-1"),
        query=b"",
        root_path="",
        client=("10.0.0.1", 1),
        server=None,
        extensions={},
    )


def request_of(lines, target=b"/"):
    return Request.from_environ(wsgi_environ(head_of(lines, target)) | {"wsgi.input": None})


POLICY = ForwardedPolicy.trusting("10.0.0.0/8", forwarded=True, via="me")

for what, make in LINES.items():
    case(f"request head: {what}")(
        lambda n, make=make: functools.partial(
            http1.parse_request_head, b"GET / HTTP/1.1\r\n" + make(n) + b"\r\n", NO_LIMITS
        )
    )
    case(f"response head: {what}")(
        lambda n, make=make: functools.partial(
            http1.parse_response_head, b"HTTP/1.1 200 OK\r\n" + make(n) + b"\r\n", "GET", NO_LIMITS
        )
    )
    case(f"admission: {what}")(
        lambda n, make=make: functools.partial(admit, "GET", b"/", fields(make(n)), "1.1")
    )
    case(f"end to end: {what}")(lambda n, make=make: functools.partial(end_to_end, fields(make(n))))
    case(f"outgoing: {what}")(
        lambda n, make=make: functools.partial(
            outgoing_headers, fields(make(n)), UPSTREAM.origin, policy=POLICY, client="10.0.0.1"
        )
    )
    case(f"environ: {what}")(
        lambda n, make=make: functools.partial(wsgi_environ, head_from_scope(scope_of(make(n))))
    )


@case("views of a request")
def _(n):
    request = request_of(b"Cookie: " + b"a=b; " * (n // 5) + b"\r\nAccept: " + b"a/b," * (n // 4))
    return lambda: (request.cookies, request.accept_mimetypes, request.headers.items())


@case("forwarding a request with many fields")
def _(n):
    request = request_of(b"X-Y: z\r\n" * (n // 8) + b"x_y: z\r\n" * (n // 8))
    return lambda: outgoing_request(request, UPSTREAM, edits={"X-Y": "1"}, policy=POLICY)


# --- bodies -----------------------------------------------------------------------------


def decoded(*pieces):
    decoder = http1.body_decoder(http1.Framing.CHUNKED, None, NO_LIMITS, side="request")
    for piece in pieces:
        decoder.feed(piece)


CHUNKED = {
    "tiny chunks": lambda n: [b"1\r\na\r\n" * (n // 6)],
    "tiny chunks, byte by byte": lambda n: [bytes((c,)) for c in b"1\r\na\r\n" * (n // 48)],
    "one chunk, byte by byte": lambda n: [b"%x\r\n" % n, *[b"a"] * (n // 8)],
    "extensions": lambda n: [b"1;a=b\r\na\r\n" * (n // 10)],
    "a long extension": lambda n: [b"1;" + b"a" * n],
    "a long size": lambda n: [b"0" * n],
    "trailers": lambda n: [b"0\r\n" + b"X: y\r\n" * (n // 6) + b"\r\n"],
    "trailers, byte by byte": lambda n: [
        b"0\r\n", *[bytes((c,)) for c in b"X: y\r\n" * (n // 48)], b"\r\n"
    ],
    "more after the end": lambda n: [b"0\r\n\r\n" + b"a" * n],
}  # fmt: skip
for what, make in CHUNKED.items():
    case(f"chunks: {what}")(lambda n, make=make: functools.partial(decoded, *make(n)))


@case("the end of a head that comes slowly")
def _(n):
    def read():
        buffer = bytearray()
        for _ in range(n // 30):
            seen = len(buffer)
            buffer += b"X: y\r\n" * 5
            http1.find_head_end(buffer, seen)

    return read


@case("writing a head")
def _(n):
    headers = [(b"X-%d" % i, b"y") for i in range(n // 8)]
    return lambda: http1.encode_request_head("GET", b"/" + b"a" * n, headers)


# --- targets and routes -----------------------------------------------------------------

PATHS = {
    "plain": lambda n: b"/t/" + b"a" * (n // 16),
    "slashes": lambda n: b"/t" + b"/" * (n // 16),
    "segments": lambda n: b"/t" + b"/a" * (n // 8),
    "escapes": lambda n: b"/t/" + b"%41" * (n // 12),
    "escaped slashes": lambda n: b"/t/" + b"%2f" * (n // 12),
    "escaped escapes": lambda n: b"/t/" + b"%25" * (n // 12) + b"41",
    "broken escapes": lambda n: b"/t/" + b"%" * (n // 16),
    "bytes beyond ASCII": lambda n: b"/t/" + b"\xc3\xa9" * (n // 8),
    "dots": lambda n: b"/t" + b"/.." * (n // 12),
    "escaped dots": lambda n: b"/t" + b"/%2e%2E" * (n // 28),
    "parameters": lambda n: b"/t/" + b";a=b" * (n // 16),
}
for what, make in PATHS.items():

    @case(f"routing and forwarding: {what}")
    def _(n, make=make):
        router = Router()

        def endpoint(request, args):
            path = raw_tail(request, args["path"])
            outgoing_request(request, UPSTREAM, path=path)
            return Response()

        for rule in ("/<tenant>/<path:path>", "/x/<regex('[a-z/]+'):r>/y", "/t/a/<a>/<b>/<int:c>"):
            router.add(rule, endpoint)
        request = request_of(b"Host: h\r\n", make(n))
        request.environ["RAW_URI"] = make(n).decode("latin-1")
        return lambda: router.dispatch(request)

    @case(f"what a route captured, decoded: {what}")
    def _(n, make=make):
        request = request_of(b"Host: h\r\n", make(n))
        captured = unquote(get_raw_path(request))[3:]
        return lambda: raw_tail(request, captured)

    case(f"dot segments: {what}")(lambda n, make=make: lambda: has_dot_segment(make(n)))
    case(f"target: {what}")(
        lambda n, make=make: lambda: join_target(b"/a", split_target(make(n), "GET").path, b"q")
    )
    case(f"absolute target: {what}")(
        lambda n, make=make: lambda: split_target(b"http://h" + make(n), "GET")
    )
    case(f"prefixes of a path: {what}")(
        lambda n, make=make: (
            lambda: strip_prefix(add_prefix(make(n).decode("latin-1"), "/a"), "/a/t")
        )
    )

for what, target in {
    "authority": lambda n: b"http://" + b"a." * (n // 2) + b"/",
    "user": lambda n: b"http://" + b"a:b@" * (n // 4),
    "brackets": lambda n: b"http://" + b"[:" * (n // 2),
    "scheme": lambda n: b"a" * n + b"://h",
    "no scheme": lambda n: b"a+" * (n // 2),
}.items():
    case(f"absolute target: {what}")(
        lambda n, target=target: lambda: split_target(target(n), "GET")
    )
    case(f"upstream: {what}")(lambda n, target=target: lambda: parse_upstream(target(n).decode()))


@case("hosts of routes")
def _(n):
    router = Router()
    router.add("/", lambda request, args: Response(), host="<regex('.*'):a>.example.com<port:p>")
    router.add("/", lambda request, args: Response(), host="<sub>.example.org")
    request = Request(headers={"Host": "a." * (n // 2) + "example.com"})
    return lambda: router.dispatch(request)


# --- values of fields -------------------------------------------------------------------

VALUES = {
    "commas": lambda n: "," * n,
    "items": lambda n: "ab, " * (n // 4),
    "semicolons": lambda n: "a=b; " * (n // 5),
    "quotes": lambda n: '"' * n,
    "backslashes": lambda n: 'a="' + "\\" * n,
    "blanks": lambda n: "a" + " " * n + "b",
    "letters": lambda n: "a" * n,
    "slashes": lambda n: "http://a" + "/" * n,
    "digits": lambda n: "1" * n,
    "equals": lambda n: "=" * n,
}
READERS = {
    "list items": lambda v: http1.list_items(v.encode()),
    "is a host": lambda v: http1.is_host(v.encode()),
    "subprotocols": lambda v: subprotocols([(b"Sec-WebSocket-Protocol", v.encode())] * 2),
    "codings": parse_codings,
    "basic auth": lambda v: parse_basic_auth("Basic " + v),
    "URL": lambda v: rewrite_url(v, "http://a/b", "http://c/d"),
    "refresh": lambda v: rewrite_refresh("1; url=" + v, "http://a/b", "http://c/d"),
    "cookie": lambda v: rewrite_cookie(v, domain={"a": "b"}, path={"/": "/c"}),
    "forwarded": lambda v: POLICY.apply(
        [(b"X-Forwarded-For", v.encode()), (b"forwarded", v.encode())],
        client="10.0.0.1",
        scheme="http",
        host=v.encode(),
    ),
    "client's address": ForwardedPolicy.trusting("10.0.0.0/8").believes,
    "Proxy-Status": lambda v: proxy_status(check_name(v), BadRequest("x")),
    "networks": values.read_networks,
    "address": values.read_address,
    "time": values.read_time,
    "name for Via": values.read_via,
    "size": values.read_size,
}
for what, read in READERS.items():
    for of, make in VALUES.items():
        case(f"{what}: {of}")(lambda n, read=read, make=make: functools.partial(read, make(n)))


@case("a view on fields")
def _(n):
    pairs = [(b"X-%d" % (i % 3), b"y") for i in range(n // 8)]

    def edit():
        view = HeaderFields(pairs)
        view.getlist("x-1")
        view["X-1"] = "z"
        view.replace("X-2", str.upper)
        view.remove("X-0", "X-3")
        view.setlist("X-4", ["a"] * (n // 8))

    return edit


@case("interim answers, and the fields of answers")
def _(n):
    pairs = [(b"Link", b"<a>"), (b"Connection", b"b%d" % n)] * (n // 20)
    return lambda: response_headers(pairs)


# --- the tests --------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_work_grows_no_faster_than_what_came(name):
    make = CASES[name]
    small, large = make(N), make(LINEAR * N)
    once = many = float("inf")
    gc.disable()
    try:
        for _ in range(ATTEMPTS):
            once = min(once, measured(small))
            many = min(many, measured(large))
            if many <= NOTHING or many < TOO_MUCH * once:
                return
    finally:
        gc.enable()
    pytest.fail(f"{1000 * once:.2f} ms for {N} bytes, {1000 * many:.2f} ms for {LINEAR * N}")


# --- what stays -------------------------------------------------------------------------

FILLED = {
    "rolo.wire.hop_by_hop._known_options": lambda value: end_to_end([(b"Connection", value)]),
    "rolo.wire.fields._known_names": lambda value: HeaderFields().get(value.decode()),
    "rolo.wire.http1._known_names": lambda value: http1.encode_response_head(
        200, b"", [(value, b"")]
    ),
    "rolo.proxy.forwarded_fields.ForwardedPolicy": lambda value: POLICY.believes(value.decode()),
}
# Keyed by nothing, by settings, by two flags, or by the second.
OURS = {
    "rolo.harness.certificates.authority",
    "rolo.upstream.blocking_transport._ssl_context",
    "rolo.asgi.capabilities._of_extensions",
    "rolo.bridge.access_log._when",
}


@pytest.mark.parametrize("name", FILLED)
def test_what_a_peer_fills_stays_small(name):
    fill = FILLED[name]
    fill(b"warm-up")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(300):
            fill(b"x%d" % number + b"-x" * (32 * 1024))
        for number in range(3000):
            fill(b"y%d" % number)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held < 1024 * 1024


def test_every_cache_is_known_here():
    found = set()
    for module in pkgutil.walk_packages(rolo.__path__, "rolo."):
        try:
            members = vars(importlib.import_module(module.name))
        except (ImportError, SystemExit):
            continue  # wants an optional library
        for name, value in members.items():
            if hasattr(value, "cache_info") and value.__module__ == module.name:
                found.add(f"{module.name}.{name}")
    assert found <= FILLED.keys() | OURS
