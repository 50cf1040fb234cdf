"""Heads, both ways: what passes, what does not, and that nothing is invented."""

import contextlib
import pathlib
import re

import pytest
from fidelity import PROXIES, UNSUPPORTED, answering, request
from wire import Wire

from rolo.serving import SERVERS

pytest_plugins = ["fidelity_fixtures"]

ADDED = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """The threads of the module's proxies are looked after by their farm."""


def names(headers):
    return [name.lower() for name, _ in headers]


def seen_by_origin(proxied, *fields, line="GET /"):
    """Return the fields that arrive of these, without those that are always there."""
    assert proxied.exchange(line, *fields).status == 200
    always = {"host", *(name.lower() for name in ADDED)}
    return [field for field in proxied.origin.last.headers if field[0].lower() not in always]


def as_named(proxied, fields):
    """The fields in the case that the server leaves them in."""
    if proxied.cannot("case of field names"):
        return [(name.lower(), value) for name, value in fields]
    return fields


@pytest.fixture
def origin(farm):
    """The one behind all proxies of this module, as good as new."""
    farm.origin.reset()
    return farm.origin


# --- hop-by-hop fields ------------------------------------------------------------------


def test_hop_by_hop_fields_of_a_request_stay_behind(proxied):
    seen = seen_by_origin(
        proxied,
        "Connection: X-One, keep-alive",
        "X-One: 1",
        "X-Stays: 1",
        "connection:\tx-tWO ,, ",
        "X-Two: 2",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic x",
        "Upgrade: foo/2",
    )
    assert seen == as_named(proxied, [("X-Stays", "1")])


def test_connection_cannot_remove_framing_nor_what_we_add(proxied):
    named = ", ".join(["Content-Length", "Transfer-Encoding", "Host", "Content-Type", *ADDED])
    fields = [f"Connection: {named}", "Content-Type: text/plain", "Content-Length: 3"]
    assert proxied.exchange("POST /", *fields, body=b"abc").status == 200
    last = proxied.origin.last
    assert last.body == b"abc"
    assert last.get("host") == "proxied.test"
    assert last.get("content-type") == "text/plain"
    for name in ADDED:
        assert len(last.all(name)) == 1, name


@pytest.mark.parametrize(
    ("te", "passed"),
    [
        pytest.param("trailers", ["trailers"], id="trailers"),
        pytest.param("deflate;q=0.5, Trailers", ["trailers"], id="trailers among others"),
        pytest.param("gzip", [], id="a coding"),
    ],
)
def test_of_te_only_trailers_passes(proxied, te, passed):
    seen_by_origin(proxied, f"TE: {te}", "Connection: TE")
    assert proxied.origin.last.all("te") == passed
    # RFC 9110 section 10.1.4: whoever sends TE says that it is for the next one only.
    assert proxied.origin.last.all("connection") == (["TE"] if passed else [])


def test_hop_by_hop_fields_of_an_answer_stay_behind(proxied, origin):
    origin.answer(
        b"HTTP/1.1 200 OK\r\nConnection: X-One\r\nX-One: 1\r\nCONNECTION: x-two, keep-alive\r\n"
        b"X-Two: 2\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n"
        b"Proxy-Connection: x\r\nX-Stays: 1\r\nContent-Length: 2\r\n\r\nok"
    )
    answer = proxied.exchange("GET /")
    gone = {"x-one", "x-two", "keep-alive", "proxy-authenticate", "upgrade", "proxy-connection"}
    assert gone.isdisjoint(names(answer.headers))
    assert answer.get("x-stays") == "1"
    assert answer.body == b"ok"


def test_connection_of_an_answer_cannot_remove_its_framing(proxied, origin):
    origin.answer(
        b"HTTP/1.1 200 OK\r\nConnection: Content-Length, Content-Type\r\n"
        b"Content-Type: text/x\r\nContent-Length: 2\r\n\r\nok"
    )
    answer = proxied.exchange("GET /")
    assert (answer.all("content-length"), answer.get("content-type")) == (["2"], "text/x")
    assert answer.body == b"ok"


# --- who the client is ------------------------------------------------------------------


def test_the_clients_address_is_appended_and_the_rest_set_where_absent(proxied):
    assert proxied.exchange("GET /").status == 200
    last = proxied.origin.last
    assert [last.all(name) for name in ADDED] == [["127.0.0.1"], ["http"], ["proxied.test"]]
    proxied.exchange(
        "GET /",
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-For: 198.51.100.9",
        "X-Forwarded-Host: public.test",
    )
    last = proxied.origin.last
    assert [last.all(name) for name in ADDED] == [
        ["203.0.113.7, 198.51.100.9, 127.0.0.1"],
        ["https"],
        ["public.test"],
    ]


LIES = [
    "X-Forwarded-For: 203.0.113.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: public.test",
    "X-Forwarded-Port: 8443",
    "Forwarded: for=203.0.113.7",
]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(
            ["--trusted-proxies", "192.0.2.0/24"],
            {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http",
             "x-forwarded-host": "proxied.test", "x-forwarded-port": None, "forwarded": None},
            id="from an untrusted client",
        ),
        pytest.param(
            ["--trusted-proxies", "192.0.2.0/24,127.0.0.0/8"],
            {"x-forwarded-for": "203.0.113.7, 127.0.0.1", "x-forwarded-proto": "https",
             "x-forwarded-host": "public.test", "x-forwarded-port": "8443",
             "forwarded": "for=203.0.113.7"},
            id="from a trusted client",
        ),
        pytest.param(
            ["--forwarded", "replace", "--forwarded-header"],
            {"x-forwarded-for": "127.0.0.1", "x-forwarded-port": None,
             "forwarded": "for=127.0.0.1;proto=http;host=proxied.test"},
            id="replaced",
        ),
        pytest.param(
            ["--forwarded", "off", "--via", "edge"],
            {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https",
             "x-forwarded-port": "8443", "forwarded": "for=203.0.113.7", "via": None},
            id="off",
        ),
        pytest.param(
            ["--forwarded-header", "--via", "edge"],
            {"forwarded": "for=203.0.113.7, for=127.0.0.1;proto=http;host=proxied.test",
             "via": "1.1 edge"},
            id="with Forwarded and Via",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["native-loop", "hypercorn-threads", "werkzeug-threads"])
def test_the_policy_says_what_the_origin_is_told(farm, origin, name, options, expected):
    farm.proxy(name, *options).exchange("GET /", *LIES)
    for field, value in expected.items():
        assert origin.last.all(field) == ([] if value is None else [value]), field


# --- the request target -----------------------------------------------------------------

TARGETS = [
    "/a%2Fb", "/%2e%2e/x", "//a//b", "/a;b=1;c", "/a+b?c+d", "/a/../b/./c", "/a?b?c=%00&&;",
    "/%00", "/a%zz%", "/?a=b%20c", "/%C3%A4", "/a:80/@b", "/!$&'()*,~-._", "/a?http://b/c?d",
]  # fmt: skip


def test_the_target_passes_byte_for_byte(proxied):
    for target in TARGETS:
        assert proxied.exchange(f"GET {target}").status == 200, target
        assert proxied.origin.last.target == target


def test_an_empty_query_passes(proxied):
    proxied.exchange("GET /a?")
    assert proxied.origin.last.target == ("/a" if proxied.cannot("empty query") else "/a?")


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize(
    ("target", "point"),
    [
        pytest.param("/\xe4\xff?\xe4", "bytes beyond ASCII in the target", id="beyond ASCII"),
        pytest.param('/"<>\\^{|}', "bytes outside of RFC 3986 in the target", id="not in RFC 3986"),
    ],
)
def test_odd_bytes_of_the_target_pass_or_are_refused(proxied, target, point):
    answer = proxied.exchange(f"GET {target}")
    if proxied.cannot(point):
        assert answer.status == 400
        assert proxied.origin.exchanges == []
    else:
        assert proxied.origin.last.target == target


def test_the_absolute_form_becomes_a_path_and_its_authority_the_host(proxied):
    proxied.exchange("GET http://other.test:81/x%2Fy?z")
    last = proxied.origin.last
    assert last.target == "/x%2Fy?z"
    # A server that hides the authority leaves Host, which the client should have made the same.
    host = "proxied.test" if proxied.cannot("absolute target: its authority") else "other.test:81"
    assert (last.get("host"), last.get("x-forwarded-host")) == (host, host)


def test_the_asterisk_form_passes(proxied):
    proxied.exchange("OPTIONS *")
    assert proxied.origin.last.line == "OPTIONS * HTTP/1.1"


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize(
    "line",
    ["GET /a\x01b", "GET /a\x7fb", "GET /a b", "GET /a\tb", "GET foo", "GET *", "GET /\0"],
    ids=["control", "delete", "space", "tab", "relative", "asterisk", "NUL"],
)
def test_what_is_no_target_is_refused(proxied, line):
    assert proxied.exchange(line).status == 400
    assert proxied.origin.exchanges == []


# --- order, repeats, case, bytes --------------------------------------------------------

FIELDS = [
    ("X-Zulu", "1"),
    ("Cookie", "a=1"),
    ("x-alpha", "2"),
    ("X-Zulu", "3"),
    ("Cookie", "b=2; c=3"),
    ("X_Under", "kept"),
    ("X-EMPTY", ""),
    ("X-Tab", "a\tb"),
    ("X-Bytes", "\xe4\xff\x80"),
    ("X-Long", "x" * 8000),
    ("X-Zulu", "last"),
]


def lines(fields):
    return [f"{name}: {value}" for name, value in fields]


def test_fields_of_a_request_keep_order_repeats_case_and_bytes(proxied):
    seen = seen_by_origin(proxied, *lines(FIELDS))
    # As nginx: a CGI-like origin could take the name for another.
    passed = [field for field in FIELDS if field[0] != "X_Under"]
    assert_same_fields(proxied, seen, passed)


def assert_same_fields(proxied, seen, fields):
    if proxied.cannot("order among different field names"):
        # Kept among those of one name, which is what means something (RFC 9110 section 5.3).
        seen, fields = (sorted(each, key=lambda field: field[0].lower()) for each in (seen, fields))
    assert seen == as_named(proxied, fields)


def test_fields_of_an_answer_keep_order_repeats_case_and_bytes(proxied, origin):
    fields = [
        *((name.replace("Cookie", "Set-Cookie"), value) for name, value in FIELDS),
        ("Location", "../a%2fb?c"),
        ("Content-Encoding", "gzip"),
        ("ETag", 'W/"1"'),
    ]
    head = "\r\n".join(["HTTP/1.1 200 OK", *lines(fields), "Content-Length: 2"])
    origin.answer(head.encode("latin-1") + b"\r\n\r\nok")
    answer = proxied.exchange("GET /")
    own = {"content-length", "date", "server", "connection"}
    seen = [field for field in answer.headers if field[0].lower() not in own]
    assert_same_fields(proxied, seen, fields)


@pytest.mark.parametrize("count", [150, 300])
def test_many_fields_pass_both_ways(proxied, origin, count):
    fields = [(f"X-Field-{i}", str(i)) for i in range(count)]
    if proxied.cannot("over 100 fields"):
        assert proxied.exchange("GET /", *lines(fields)).status == 431
        fields = fields[:90]
    head = "\r\n".join(["HTTP/1.1 200 OK", *lines(fields), "Content-Length: 2"])
    origin.answer(head.encode() + b"\r\n\r\nok")
    answer = proxied.exchange("GET /", *lines(fields))
    for headers in (origin.last.headers, answer.headers):
        seen = [field for field in headers if field[0].lower().startswith("x-field")]
        assert seen == as_named(proxied, fields)


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize("reason", ["Very Odd", "", "Caf\xe9"], ids=["odd", "empty", "bytes"])
def test_status_and_reason_phrase_pass(proxied, origin, reason):
    origin.answer(f"HTTP/1.1 299 {reason}\r\nContent-Length: 2\r\n\r\nok".encode("latin-1"))
    answer = proxied.exchange("GET /")
    assert (answer.status, answer.body) == (299, b"ok")
    if not proxied.cannot("reason phrase"):
        assert answer.reason == reason


# --- nothing invented -------------------------------------------------------------------


def test_a_bare_request_arrives_bare(farm, origin):
    for name in PROXIES:
        proxied = farm.proxy(name, "--forwarded", "off")
        assert proxied.exchange("GET /x").status == 200
        expected = request("GET /x")
        if proxied.cannot("case of field names"):
            expected = expected.replace(b"Host", b"host")
        assert origin.last.raw_head == expected, name


def test_a_bare_answer_arrives_bare(proxied, origin):
    answer = proxied.exchange("GET /")
    allowed = {"content-length", "date"}  # RFC 9110 section 6.6.1: a proxy adds Date
    if proxied.cannot("no Server of its own"):
        allowed.add("server")
    if proxied.cannot("keep-alive"):
        allowed.add("connection")
    assert set(names(answer.headers)) <= allowed


def test_date_and_server_of_the_origin_pass_alone(proxied, origin):
    origin.answer(b"HTTP/1.1 200 OK\r\nDate: then\r\nServer: s/1\r\nContent-Length: 2\r\n\r\nok")
    answer = proxied.exchange("GET /")
    assert (answer.all("date"), answer.all("server")) == (["then"], ["s/1"])


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_and_cookies_are_the_clients_business(proxied, origin, status):
    origin.answer(
        b"HTTP/1.1 %d Moved\r\nLocation: /elsewhere\r\nSet-Cookie: a=1\r\n"
        b"Content-Length: 0\r\n\r\n" % status
    )
    assert proxied.exchange("GET /").status == status
    assert len(proxied.origin.exchanges) == 1
    proxied.exchange("GET /")
    assert proxied.origin.last.get("cookie") is None


# --- methods and upgrades ---------------------------------------------------------------


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize("method", ["PURGE", "M-SEARCH", "TRACE", "QUERY", "BREW", "$a~!b"])
def test_any_method_passes(proxied, method):
    answer = proxied.exchange(f"{method} /")
    if proxied.cannot("any method") and method in ("BREW", "$a~!b"):
        assert answer.status == 400
        assert proxied.origin.exchanges == []
    elif proxied.cannot("case of the method"):
        assert proxied.origin.last.method == method.upper()
    else:
        assert proxied.origin.last.method == method


def test_the_case_of_a_method_passes(proxied):
    answer = proxied.exchange("Get /")
    if proxied.cannot("any method"):
        assert answer.status == 400
    else:
        expected = "GET" if proxied.cannot("case of the method") else "Get"
        assert proxied.origin.last.method == expected


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize("target", ["/", "origin.test:443"], ids=["path", "authority"])
def test_connect_makes_no_tunnel(proxied, target):
    answer = proxied.exchange(f"CONNECT {target}")
    assert answer.status == 501
    assert proxied.origin.exchanges == []


@pytest.mark.all_variations_on(*SERVERS)
@pytest.mark.parametrize("protocol", ["h2c", "foo", "TLS/1.0, HTTP/1.1", "h2c, foo"])
def test_unknown_upgrades_are_not_passed_on(proxied, protocol):
    answer = proxied.exchange(
        "GET /",
        "Connection: Upgrade, HTTP2-Settings",
        f"Upgrade: {protocol}",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
    )
    assert (answer.status, answer.body) == (200, b"ok")
    assert {"upgrade", "connection", "http2-settings"}.isdisjoint(
        names(proxied.origin.last.headers)
    )


@pytest.mark.parametrize("asked", [True, False], ids=["asked for", "unasked"])
def test_a_101_is_no_tunnel(proxied, origin, asked):
    reads = []

    def switch(exchange):
        exchange.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n"
        )
        with contextlib.suppress(EOFError, OSError):
            reads.append(exchange.read_exactly(1))
        return False

    origin.script = switch
    fields = ["Connection: upgrade", "Upgrade: foo"] if asked else []
    with proxied.wire() as wire:
        wire.send(request("GET /", *fields))
        assert wire.head().status == 502
        with contextlib.suppress(OSError):
            wire.send(b"into the tunnel")
    assert reads == []


# --- Host and keep-alive, cheaply -------------------------------------------------------


def test_requests_of_one_connection_are_answered_in_order(proxied, origin):
    origin.script = lambda exchange: exchange.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
        % (len(exchange.target), exchange.target.encode())
    )
    targets = [f"/{i}" for i in range(1 if proxied.cannot("keep-alive") else 5)]
    with Wire(proxied.url) as wire:
        wire.send(b"".join(request(f"GET {target}") for target in targets))
        assert [wire.answer().body.decode() for _ in targets] == targets


def test_an_origin_that_answers_twice_is_not_believed_the_second_time(proxied, origin):
    origin.script = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * 2)
    for _ in range(3):
        assert proxied.exchange("GET /").body == b"ok"
    assert origin.connections >= 2  # the first may have come over a connection kept


def test_what_servers_prevent_is_what_the_docs_say():
    page = pathlib.Path(__file__, "../../../docs/http-support.md").resolve().read_text()
    table = page.partition("\n## What the servers prevent\n")[2].partition("\n## ")[0]
    servers, _, *rows = [line for line in table.splitlines() if line.startswith("|")]
    names = [name.strip() for name in servers.strip("|").split("|")][1:]
    said = {}
    for row in rows:
        point, *cells = re.split(r" \| ", row.strip("| "))
        said[point] = {
            n for n, cell in zip(names, cells, strict=True) if not cell.startswith("yes")
        }
    assert {point: UNSUPPORTED[point] - set(said[point]) for point in UNSUPPORTED} == {
        point: set() for point in UNSUPPORTED
    }
    # hypercorn passes trailers on, though not to all.
    assert {p: s - UNSUPPORTED[p] for p, s in said.items() if s - UNSUPPORTED[p]} == {
        "response trailers": {"hypercorn"}
    }
