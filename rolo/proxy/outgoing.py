"""From the request that came in to the request that goes out: no I/O."""

from __future__ import annotations

import io
import re
import typing as t
from urllib.parse import quote, unquote_to_bytes

from werkzeug.datastructures import Headers

from rolo.bridge.body_record import DEFAULT_REPLAY_LIMIT
from rolo.bridge.request import BridgeRequest
from rolo.errors import BodyNotKept
from rolo.proxy.forwarded_fields import ForwardedPolicy
from rolo.proxy.kept_input import KeptInput
from rolo.proxy.request_rules import DEFAULT_RULES, RequestRules
from rolo.request import Request, get_raw_path, whole_body
from rolo.upstream.request import UpstreamRequest
from rolo.websocket.request import WebSocketRequest
from rolo.wire import hop_by_hop
from rolo.wire.fields import RawHeaders, refuse_reserved, values_of
from rolo.wire.http1 import Framing
from rolo.wire.received import received
from rolo.wire.target import Origin, Upstream, join_target, parse_upstream, split_target

HeaderEdits = Headers | t.Mapping[str, str]

AnyRequest = Request | WebSocketRequest

DEFAULT_POLICY = ForwardedPolicy()
_NO_POLICY = ForwardedPolicy(mode="off")
_HTTP_SCHEMES = {"ws": "http", "wss": "https"}

# What may stand in a path unquoted (RFC 3986 section 3.3), and what is quoted already.
_PATH_SAFE = "/:@!$&'()*+,;=~%"
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPE_OR_BYTE = re.compile(r"(?s)%[0-9A-Fa-f]{2}|.")


def outgoing_request(
    request: Request,
    upstream: Upstream,
    *,
    path: str | None = None,
    edits: HeaderEdits | None = None,
    preserve_host: bool = True,
    policy: ForwardedPolicy = DEFAULT_POLICY,
    rules: RequestRules = DEFAULT_RULES,
) -> UpstreamRequest:
    """Return what goes to ``upstream`` for ``request``.

    :param path: replaces the path of the request (its query stays); ``None`` keeps the
        raw path byte for byte
    :param edits: fields that replace fields of the request, and new ones; Host only
        without ``preserve_host``. What the client said of its own connection or body, copied
        from ``request.headers``, is left out.
    :param preserve_host: send the client's Host instead of the upstream's
    :param rules: which of the client's fields pass, and which paths
    :raises BadRequest: the request's target cannot be forwarded well-formed, or is refused
    :raises ReservedField: ``edits`` hold a field that only the writer sets
    """
    outgoing = outgoing_head(
        request,
        upstream,
        path=path,
        edits=edits,
        preserve_host=preserve_host,
        policy=policy,
        rules=rules,
    )
    if isinstance(request, BridgeRequest):
        if request._body_replaced:
            outgoing.body = whole_body(request)
            outgoing.length = len(outgoing.body)
        elif request._head.framing is not Framing.NONE:
            _add_bridged_body(outgoing, request)
    else:
        _add_body(outgoing, request, raw_headers(request))
        if _http_version(request) == "1.0":
            outgoing.expect_continue = False
    return outgoing


def outgoing_head(
    request: AnyRequest,
    upstream: Upstream,
    *,
    path: str | None = None,
    edits: HeaderEdits | None = None,
    preserve_host: bool = True,
    policy: ForwardedPolicy = DEFAULT_POLICY,
    rules: RequestRules = DEFAULT_RULES,
) -> UpstreamRequest:
    """Return the same without looking for a body."""
    came: RawHeaders | None
    headers: RawHeaders
    if isinstance(request, BridgeRequest):
        head = request._head
        method, version, came = _method(request), head.http_version, head.headers
        headers = request._raw_headers
    else:
        method, version, came = _method(request), _http_version(request), _came(request)
        headers = raw_headers(request)
    target, asked = _target(request, method, upstream, path, rules)
    headers, added = _fields_and_added(
        rules.passed(headers, came),
        upstream.origin,
        preserve_host,
        policy,
        request.remote_addr,
        # To an origin a websocket's handshake is a request like any other.
        _HTTP_SCHEMES.get(request.scheme, request.scheme),
        asked,
        version,
    )
    if version == "1.0":
        # RFC 9110 section 10.1.1: to be ignored, hence not for us to repeat in HTTP/1.1.
        headers = [field for field in headers if field[0].lower() != b"expect"]
    if edits:
        headers = _edited([*headers, *added], edits, request, keep_host=preserve_host)
        added = []
    return UpstreamRequest(upstream.origin, method, target, headers, added=added)


def direct_request(request: Request, server: str | None) -> UpstreamRequest:
    """Return ``request`` as it goes to ``server`` (a base URL), or without one to the host
    that the request itself names. Nothing is added."""
    if server is None:
        server = f"{request.scheme}://{request.host}"
    return outgoing_request(request, parse_upstream(server), policy=_NO_POLICY)


def raw_headers(request: AnyRequest) -> RawHeaders:
    """Return the header pairs of ``request``, in order, repeats and case kept."""
    if isinstance(request, BridgeRequest):
        return request._raw_headers
    return [
        (name.encode("latin-1"), str(value).encode("latin-1")) for name, value in request.headers
    ]


def _came(request: AnyRequest) -> RawHeaders | None:
    """Return the fields that a client sent, ``None`` where no server tells."""
    if isinstance(request, BridgeRequest):
        return request._head.headers
    return request.environ.get("rolo.headers")


def raw_tail(request: AnyRequest, tail: str) -> str:
    """Return the end of the path of ``request`` that a route captured as ``tail``, be that
    as it was written or percent-decoded, so that it is forwarded as it was written; ``tail``
    quoted if there is no such end. Bytes beyond ASCII come percent-encoded."""
    path = get_raw_path(request)
    start = len(path) - len(tail)
    if path.endswith(tail) and not _is_inside_escape(path, start):
        return tail
    wanted = tail.encode("utf-8", "surrogateescape")
    if tail and unquote_to_bytes(path).endswith(wanted):
        # What is no escape reads as itself: each match is one byte of what is wanted.
        starts = [match.start() for match in _ESCAPE_OR_BYTE.finditer(path)]
        return path[starts[-len(wanted)] :]
    return quote(wanted, safe=_PATH_SAFE)


def _is_inside_escape(path: str, at: int) -> bool:
    mark = path.rfind("%", max(0, at - 2), at)
    return mark >= 0 and _ESCAPE.match(path, mark) is not None


def _method(request: AnyRequest) -> str:
    """Return the method as it was written; werkzeug makes it upper case."""
    if isinstance(request, BridgeRequest) and (
        "environ" not in request.__dict__ or request.method != request._head.method
    ):
        return request.method
    return str(request.environ.get("REQUEST_METHOD", request.method))


def _target(
    request: AnyRequest, method: str, upstream: Upstream, path: str | None, rules: RequestRules
) -> tuple[bytes, bytes | None]:
    """Return the target to ask for, and the authority that the request's own target names
    (``None``: it names none)."""
    asked: bytes | None = None
    if isinstance(request, BridgeRequest) and "environ" not in request.__dict__:
        target = request._head.target
        if path is None and target[:1] == b"/" and not rules.refuse_dot_segments:
            return upstream.base_path + target, None  # as nearly always
    written, variables = _written_target(request)
    if written is not None:
        form = split_target(written, method)
        below, query, asked = form.path, form.query, form.authority
        if variables is not None:
            # A handler may have changed it, there or in the target.
            left = str(variables.get("QUERY_STRING") or "").encode("latin-1")
            query = query if _is_same_query(query or b"", left) else left
    else:
        below = _encoded(get_raw_path(request))
        query = str(request.environ.get("QUERY_STRING") or "").encode("latin-1") or None
    if path is not None:
        below = _encoded(path)
        if not below.startswith(b"/"):
            below = b"/" + below
    rules.check_path(below)
    return join_target(upstream.base_path, below, query), asked


def _is_same_query(written: bytes, left: bytes) -> bool:
    """Whether a query of the environment is the one in the target. Werkzeug's server takes the
    bytes of a target for Latin-1, and writes them into the environment as UTF-8."""
    if left == written:
        return True
    return not written.isascii() and left == written.decode("latin-1").encode()


def _written_target(request: AnyRequest) -> tuple[bytes | None, t.Mapping[str, t.Any] | None]:
    """Return the target as the client wrote it, or as a handler left it in the environment
    (``None``: no server tells), and that environment if anybody may have changed it."""
    if isinstance(request, BridgeRequest):
        if "environ" not in request.__dict__:
            return request._head.target, None
    elif "rolo.headers" not in request.environ:
        return None, None
    environ = t.cast("t.Any", request.environ)
    uri = environ.get("RAW_URI")
    return (str(uri).encode("latin-1"), environ) if uri else (None, None)


def _encoded(path: str) -> bytes:
    """``path`` with whatever cannot stand in one quoted."""
    return quote(path, safe=_PATH_SAFE).encode("ascii")


def _edited(
    headers: RawHeaders, edits: HeaderEdits, request: AnyRequest, *, keep_host: bool
) -> RawHeaders:
    """Return ``headers`` with each field of ``edits`` in place of all of its name. A copy of
    what the client said of its own connection says nothing of ours, and is left out.

    :raises ReservedField: one of ``edits`` is for us to write, and no such copy
    """
    copied = hop_by_hop.of_the_connection(raw_headers(request))
    new: RawHeaders = []
    for name, text in edits.items():
        value, key = str(text).encode("latin-1"), name.lower().encode("latin-1")
        if (key, value) not in copied and not (keep_host and key == b"host"):
            refuse_reserved(name)
            new.append((name.encode("latin-1"), value))
    replaced = {name.lower() for name, _ in new}
    return [pair for pair in headers if pair[0].lower() not in replaced] + new


def _add_bridged_body(outgoing: UpstreamRequest, request: BridgeRequest) -> None:
    """Add a body that the bridge has checked, or will while it is pulled."""
    head, body = request._head, request._body
    length = head.length
    if body.is_empty:
        if length is not None:
            outgoing.body, outgoing.length = b"", 0
        return
    if length is None and head.framing is not Framing.CHUNKED and head.http_version[0] == "1":
        return
    outgoing.expect_continue = head.expects_continue and _expects_continue(request._raw_headers)
    outgoing.length = length
    whole = body.whole_nowait()
    if whole is not None and length is not None:
        outgoing.body, outgoing.length = whole, len(whole)
    else:
        outgoing.body = body.sending()
        outgoing.request_trailers = lambda: body.trailers


def _add_body(outgoing: UpstreamRequest, request: Request, raw: RawHeaders) -> None:
    """Add the body of a request that came through WSGI, or was made by hand."""
    length, chunked = _declared(_came(request) or _variables(request))
    if length is None and not chunked:
        length, chunked = _declared(raw)  # made by hand, and changed since
    if length is None and not chunked:
        return
    outgoing.expect_continue = _expects_continue(raw)
    kept = kept_input(request)
    if kept is None:
        whole = whole_body(request)
        if length and not whole and not isinstance(request.environ["wsgi.input"], io.BytesIO):
            raise BodyNotKept("somebody has read the request body, and it was not kept")
        outgoing.body, outgoing.length = whole, len(whole)
        return
    outgoing.length = length
    outgoing.body = t.cast(t.Any, kept.sending())
    if length is None:
        outgoing.request_trailers = lambda: kept.trailers


def keep_body(request: AnyRequest) -> None:
    """Keep the body of ``request`` as it goes out, up to the replay limit."""
    if isinstance(request, BridgeRequest):
        request._body.keep()
    elif isinstance(request, Request) and (kept := kept_input(request)) is not None:
        kept.record.keep(DEFAULT_REPLAY_LIMIT)


def check_resendable(request: AnyRequest) -> None:
    """:raises BodyNotKept: the body of ``request`` cannot be sent once more"""
    if isinstance(request, BridgeRequest):
        request._body.record.check()
    elif isinstance(kept := request.environ.get("wsgi.input"), KeptInput):
        kept.record.check()


def kept_input(request: Request) -> KeptInput | None:
    """Return what the body of a WSGI request is pulled through, put in the place of its
    stream; ``None`` if somebody has read it before."""
    stream = _unread_input(request)
    if stream is None or isinstance(stream, KeptInput):
        return stream
    length = _declared(_came(request) or _variables(request))[0]
    kept = request.environ["wsgi.input"] = KeptInput(stream, length)
    return kept


# What appears in a request once somebody has read its body.
_TRACES = frozenset(("stream", "data", "form", "files", "values", "json"))


def _unread_input(request: Request) -> t.Any:
    """Return the stream that the body of a WSGI request can be pulled from as it comes;
    ``None`` if somebody has read it, or nothing says where it ends."""
    environ = request.environ
    stream = environ["wsgi.input"]
    if isinstance(stream, KeptInput):
        return stream
    if isinstance(stream, io.BytesIO) or hasattr(stream, "replay"):
        return None
    if not _TRACES.isdisjoint(vars(request)):
        return None
    if not environ.get("wsgi.input_terminated") and "CONTENT_LENGTH" not in environ:
        return None
    return stream


# The head as it came says how a body ends, whatever handlers have made of its fields.
def _declared(came: RawHeaders) -> tuple[int | None, bool]:
    """Return the length that a head declares, and whether the body is chunked."""
    length, chunked = None, False
    for name, value in came:
        lowered = name.lower()
        if lowered == b"content-length" and value.isdigit():
            length = int(value)
        elif lowered == b"transfer-encoding":
            chunked = True
    return length, chunked


def _variables(request: Request) -> RawHeaders:
    """Return what the environment of a request says of its body."""
    environ = request.environ
    names = ("CONTENT_LENGTH", b"content-length"), ("HTTP_TRANSFER_ENCODING", b"transfer-encoding")
    return [(name, str(environ[key]).encode("latin-1")) for key, name in names if key in environ]


def _expects_continue(raw: RawHeaders) -> bool:
    return any(
        name.lower() == b"expect" and value.lower() == b"100-continue" for name, value in raw
    )


def _http_version(request: AnyRequest) -> str:
    if isinstance(request, BridgeRequest):
        return request._head.http_version
    return str(request.environ.get("SERVER_PROTOCOL", "HTTP/1.1")).removeprefix("HTTP/")


def outgoing_headers(
    headers: RawHeaders,
    origin: Origin,
    *,
    preserve_host: bool = True,
    policy: ForwardedPolicy | None = None,
    client: str | None = None,
    scheme: str = "http",
    host: bytes | None = None,
    http_version: str = "1.1",
) -> RawHeaders:
    """Return the fields of a request on its way to ``origin``, complete but for framing.

    :param preserve_host: send the client's Host on, instead of the origin's name
    :param policy: ``None`` adds nothing
    :param host: the authority the client asked for where the request target names it, which
        then outranks its Host (RFC 9112 section 3.2.2); ``None`` to take Host
    """
    fields, added = _fields_and_added(
        headers, origin, preserve_host, policy or _NO_POLICY, client, scheme, host, http_version
    )
    return [*fields, *added]


def _fields_and_added(
    headers: RawHeaders,
    origin: Origin,
    preserve_host: bool,
    policy: ForwardedPolicy,
    client: str | None,
    scheme: str,
    host: bytes | None,
    http_version: str,
) -> tuple[RawHeaders, RawHeaders]:
    """Return the same in two parts, of which the second comes behind the first: the fields that
    came, which most often stay as they are, and ours."""
    fields = received(headers)
    asked, several = host, False
    if asked is None:
        asked = fields.special.get(b"host")
        if asked is not None and b"," in asked:
            hosts = values_of(headers, b"host")
            asked, several = hosts[0], len(hosts) > 1
    passed = hop_by_hop.end_to_end(fields, keep_length=False)
    if not preserve_host or host is not None or not asked or several:
        sent = asked if preserve_host and asked else origin.authority_bytes
        passed = _with_host(passed, sent)
    return policy.parts(passed, client, scheme, asked, http_version)


def _with_host(headers: RawHeaders, host: bytes) -> RawHeaders:
    """Exactly one Host, where the first one was, else in front (RFC 9110 section 7.2)."""
    result: RawHeaders = []
    found = False
    for field in headers:
        if field[0].lower() != b"host":
            result.append(field)
        elif not found:
            found = True
            result.append((field[0], host))
    if not found:
        result.insert(0, (b"Host", host))
    return result
