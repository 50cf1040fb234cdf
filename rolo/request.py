"""HTTP requests, with or without a server, and what was on the wire before decoding."""

from __future__ import annotations

import io
import typing as t
from functools import wraps
from urllib.parse import quote, urlencode

from werkzeug.datastructures import EnvironHeaders, Headers
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request as WerkzeugRequest

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from werkzeug.sansio.request import Request as SansIORequest

HeadersLike = Headers | t.Mapping[str, str]
_FORM_METHODS = frozenset(("POST", "PUT", "PATCH"))
_ASCII = "".join(map(chr, range(0x80)))
Body = bytes | str | t.IO[bytes]


class Request(WerkzeugRequest):
    """A werkzeug request that can be made by hand and whose headers can be changed.

    :param method: any token; made upper case
    :param path: decoded path, without the query
    :param headers: copied; names keep their case, repeats their order
    :param body: the whole body; text is encoded as UTF-8. A file-like object is read when
        the body is, and needs a ``Content-Length`` of yours if anybody asks for it.
    :param scheme: ``http`` or ``https``
    :param root_path: where the application is mounted
    :param query_string: the query as on the wire, without ``?``
    :param remote_addr: the client's address
    :param server: host and port of the server, for requests without ``Host``; ``None`` is
        ``127.0.0.1:80``
    :param raw_path: path as on the wire, percent-encoded; ``None``: only ``path`` is known
    """

    _spoiler: t.Any = None
    """What spoils the answer, whatever it will be: a :class:`~rolo.bridge.downstream.Spoiler`."""

    def __init__(
        self,
        method: str = "GET",
        path: str = "",
        headers: HeadersLike | None = None,
        body: Body | None = None,
        scheme: str = "http",
        root_path: str = "/",
        query_string: bytes | str = b"",
        remote_addr: str | None = None,
        server: tuple[str, int | None] | None = None,
        raw_path: str | None = None,
    ) -> None:
        if isinstance(query_string, bytes):
            query_string = query_string.decode("latin-1")
        environ = dummy_wsgi_environment(
            method=method,
            path=path,
            headers=headers,
            body=body,
            scheme=scheme,
            root_path=root_path,
            query_string=query_string,
            remote_addr=remote_addr,
            server=server,
            raw_uri=raw_path,
        )
        super().__init__(environ)
        self.headers = Headers(headers)
        if "CONTENT_LENGTH" in environ:
            self.headers.setdefault("content-length", environ["CONTENT_LENGTH"])

    @classmethod
    def from_environ(cls, environ: WSGIEnvironment) -> t.Self:
        """Return the request of a WSGI call. Its headers are those of
        :func:`headers_from_environ`, and may be changed."""
        request = cls.__new__(cls)
        WerkzeugRequest.__init__(request, environ)
        request.headers = headers_from_environ(environ)
        return request

    @classmethod
    def application(cls, *args: t.Any) -> WSGIApplication:
        """Decorate a function ``f(request) -> WSGI application`` (a response is one) to
        be a WSGI application itself; an :class:`HTTPException` becomes a response."""
        (function,) = args

        @wraps(function)
        def app(environ: WSGIEnvironment, start_response: StartResponse) -> t.Iterable[bytes]:
            with cls.from_environ(environ) as request:
                try:
                    response = function(request)
                except HTTPException as exc:
                    response = exc.get_response(environ)
                return t.cast("t.Iterable[bytes]", response(environ, start_response))

        return app


def headers_from_environ(environ: t.Mapping[str, t.Any]) -> Headers:
    """Return the request headers of ``environ``, free to be changed.

    Servers that keep the header pairs as they came leave them in ``rolo.headers`` or
    ``asgi.headers``; without these, names are the standard spelling of CGI variables.
    """
    raw = environ.get("rolo.headers")
    if raw is None:
        raw = environ.get("asgi.headers")
    if raw is None:
        return Headers(list(EnvironHeaders(t.cast("WSGIEnvironment", environ))))
    return Headers([(_text(name), _text(value)) for name, value in raw])


def dummy_wsgi_environment(
    method: str = "GET",
    path: str = "",
    headers: HeadersLike | None = None,
    body: Body | None = None,
    scheme: str = "http",
    root_path: str = "/",
    query_string: str | None = None,
    remote_addr: str | None = None,
    server: tuple[str, int | None] | None = None,
    raw_uri: str | None = None,
) -> WSGIEnvironment:
    """Return the environment of a request that no server received.

    Parameters are those of :class:`Request`; ``raw_uri`` is its ``raw_path``.
    """
    query_string = query_string or ""
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": method.upper(),
        # PEP 3333: the root is "", and text travels as latin-1 of its UTF-8 bytes.
        "SCRIPT_NAME": _wsgi_text(root_path.rstrip("/")),
        "PATH_INFO": _wsgi_text(path),
        "QUERY_STRING": query_string,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": server[0] if server else "127.0.0.1",
        "SERVER_PORT": str((server and server[1]) or 80),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input_terminated": True,
        "wsgi.errors": io.BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if raw_uri is not None:
        with_query = f"{raw_uri}?{query_string}" if query_string and "?" not in raw_uri else raw_uri
        environ["RAW_URI"] = environ["REQUEST_URI"] = quote(with_query, safe=_ASCII)
    if remote_addr is not None:
        environ["REMOTE_ADDR"] = remote_addr
    _add_body(environ, body)
    if headers is not None:
        fields = Headers(headers)
        if "transfer-encoding" in fields:
            environ.pop("CONTENT_LENGTH", None)
        set_environment_headers(environ, fields)
    return environ


def _add_body(environ: WSGIEnvironment, body: Body | None) -> None:
    if body is None or isinstance(body, bytes | bytearray | str):
        data = body.encode("utf-8") if isinstance(body, str) else bytes(body or b"")
        environ["wsgi.input"] = io.BytesIO(data)
        environ["CONTENT_LENGTH"] = str(len(data))
    else:
        environ["wsgi.input"] = body


def set_environment_headers(environ: WSGIEnvironment, headers: HeadersLike) -> None:
    """Add ``headers`` to ``environ``, as :func:`header_variables`."""
    environ.update(header_variables((name, str(value)) for name, value in headers.items()))


def header_variables(fields: t.Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the CGI variables of header fields (RFC 3875 section 4.1.18).

    Repeated fields are joined with a comma (RFC 9110 section 5.3), ``Cookie`` with a
    semicolon (RFC 6265 section 4.2.1); of Content-Type and -Length the last one stays.
    Fields with an underscore in their name have no variable: ``Content_Length`` would take
    the place of ``Content-Length``.
    """
    values: dict[str, list[str]] = {}
    for name, value in fields:
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            values[key] = [value]
        else:
            values.setdefault(f"HTTP_{key}", []).append(value)
    return {
        key: ("; " if key == "HTTP_COOKIE" else ",").join(several)
        if len(several) > 1
        else several[0]
        for key, several in values.items()
    }


def get_raw_path(request: t.Any) -> str:
    """Return the request's path as on the wire: percent-encoded, without the query. Bytes
    beyond ASCII, which do not belong there, are encoded too.

    Where the server does not tell (neither ``RAW_URI`` nor ``REQUEST_URI``), it is the
    decoded path. Of a target in absolute form (RFC 9112 section 3.2.2), the path only.
    """
    environ = request.environ
    target: str | None = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if not target:
        return t.cast("str", request.path)
    path = target.partition("?")[0]
    if not path.isascii():
        # The environment holds bytes, one to a character (PEP 3333).
        path = quote(path.encode("latin-1"), safe=_ASCII)
    if path.startswith("/"):
        return path
    scheme, separator, rest = path.partition("://")
    if separator and scheme.isalnum():
        return "/" + rest.partition("/")[2]
    return path


def get_full_raw_path(request: SansIORequest) -> str:
    """Return :func:`get_raw_path` with the query, if there is one."""
    path = get_raw_path(request)
    if not request.query_string:
        return path
    return f"{path}?{request.query_string.decode('latin-1')}"


def get_raw_base_url(request: SansIORequest) -> str:
    """Return scheme, host and raw path of the request, without the query."""
    return get_raw_current_url(
        request.scheme, request.host, request.root_path, get_raw_path(request)
    )


def get_raw_current_url(
    scheme: str,
    host: str,
    root_path: str | None = None,
    path: str | None = None,
    query_string: bytes | str | None = None,
) -> str:
    """Join the parts of a URL without quoting or unquoting any of them.

    As :func:`werkzeug.sansio.utils.get_current_url`, each part that is ``None`` ends the
    URL there.
    """
    url = f"{scheme}://{host}"
    if root_path is None:
        return f"{url}/"
    url = f"{url}/{root_path.strip('/')}".rstrip("/")
    if path is None:
        return f"{url}/"
    url = f"{url}/{path.removeprefix('/')}"
    if not query_string:
        return url
    return f"{url}?{_text(query_string)}"


def restore_payload(request: WerkzeugRequest) -> bytes:
    """Return the bytes of the request's body, whether or not a handler has read it; those of
    a form only with the methods that forms are sent by, POST, PUT and PATCH.

    With any other method it is ``request.data``, which is empty if the body is a form.
    """
    if request.method in _FORM_METHODS:
        return whole_body(request)
    return request.data


def whole_body(request: WerkzeugRequest) -> bytes:
    """Return the bytes of the request's body, whether or not a handler has read it.

    They are the exact bytes if ``wsgi.input`` can give them again (a body stream with a
    method ``replay() -> bytes``, or one in memory) or if a handler has left them in
    ``request.data``. Otherwise a body that was parsed as a form is encoded anew: the same
    fields, not the same bytes.
    """
    # A handler may have put another body in the place of what came.
    data: bytes | None = vars(request).get("data")
    if data:
        return data
    stream = request.environ["wsgi.input"]
    replay = getattr(stream, "replay", None)  # wsgi.input is whatever a server makes it
    if replay is not None:
        return t.cast("bytes", replay())
    if isinstance(stream, io.BytesIO):
        return stream.getvalue()
    return request.get_data(parse_form_data=False) or _encode_form(request)


def _encode_form(request: WerkzeugRequest) -> bytes:
    if request.mimetype == "application/x-www-form-urlencoded":
        return urlencode(list(request.form.items(multi=True))).encode("ascii")
    if request.mimetype != "multipart/form-data":
        return b""
    from werkzeug.datastructures import MultiDict
    from werkzeug.test import encode_multipart

    values: MultiDict[str, t.Any] = MultiDict(request.form)
    for name, file in request.files.items(multi=True):
        file.stream.seek(0)
        values.add(name, file)
    boundary = request.mimetype_params.get("boundary")
    return encode_multipart(values, boundary)[1]


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _wsgi_text(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")
