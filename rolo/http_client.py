"""The interface of clients that send requests, and one on a ``requests`` session."""

from __future__ import annotations

import abc
import functools
import typing as t
from urllib.parse import urlsplit

from rolo.request import (
    Request,
    get_raw_base_url,
    get_raw_current_url,
    get_raw_path,
    whole_body,
)
from rolo.response import Response

if t.TYPE_CHECKING:
    import requests
    import urllib3

_PIECE = 64 * 1024


class HttpClient(abc.ABC):
    """Something that sends a request and returns the answer. Leaving its ``with`` block
    closes it."""

    @abc.abstractmethod
    def request(self, request: Request, server: str | None = None) -> Response:
        """Send ``request`` and return the answer.

        :param server: where to send it, as a URL or ``host:port``; ``None`` sends it to
            the host that the request itself names
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Release what the client holds. Calling it again does nothing."""

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class SimpleRequestsClient(HttpClient):
    """Sends requests with a ``requests`` session.

    The body of the answer streams, undecoded: close the response, or read it to its end,
    to give its connection back. Errors are those of ``requests``. Repeated fields of the
    request are joined, since ``requests`` knows none.

    :param session: stays the caller's to configure, and is closed with the client. The
        default one keeps no cookies and takes no settings from the environment.
    :param follow_redirects: follow redirects, as browsers do
    :raises ModuleNotFoundError: ``requests`` is not installed, or urllib3 below it is older
        than 2.2 and could not stream
    """

    session: requests.Session
    follow_redirects: bool

    def __init__(
        self, session: requests.Session | None = None, follow_redirects: bool = True
    ) -> None:
        self.session = session if session is not None else _new_session()
        self.follow_redirects = follow_redirects

    def request(self, request: Request, server: str | None = None) -> Response:
        """Send ``request``; see :meth:`HttpClient.request`. Of ``server`` only scheme and
        authority count: the path is the request's own.

        :raises requests.RequestException: there is no answer
        """
        requests = _requests()
        prepared = self.session.prepare_request(
            requests.Request(
                method=request.method,
                url=_url(request, server),
                headers=_joined(request),
                data=whole_body(request) or None,
            )
        )
        answer = self.session.send(
            prepared,
            stream=True,
            allow_redirects=self.follow_redirects,
            # Given here, the session's own settings win over REQUESTS_CA_BUNDLE.
            verify=self.session.verify,
            cert=self.session.cert,
        )
        return _to_response(answer)

    def close(self) -> None:
        """Close the session."""
        self.session.close()


def _requests() -> t.Any:
    try:
        import requests
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "SimpleRequestsClient needs requests: pip install requests", name="requests"
        ) from error
    import urllib3

    if not hasattr(urllib3.HTTPResponse, "read1"):
        raise ModuleNotFoundError(
            "SimpleRequestsClient needs urllib3 2.2 or newer: pip install -U urllib3",
            name="urllib3",
        )
    return requests


def _new_session() -> requests.Session:
    from http.cookiejar import DefaultCookiePolicy

    session: requests.Session = _requests().Session()
    # A jar would give the cookies of one client to the next, and a .netrc or a proxy of
    # the environment has no business in a forwarded request.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.trust_env = False
    return session


def _url(request: Request, server: str | None) -> str:
    query = request.query_string.decode("latin-1")
    if server is None:
        base = get_raw_base_url(request)
        return f"{base}?{query}" if query else base
    scheme, authority = request.scheme, server.rstrip("/")
    if "://" in server:
        parts = urlsplit(server)
        scheme, authority = parts.scheme, parts.netloc
    return get_raw_current_url(
        scheme, authority, request.root_path, get_raw_path(request), query or None
    )


def _joined(request: Request) -> dict[str, str]:
    from urllib3.util import SKIP_HEADER

    joined: dict[str, tuple[str, str]] = {}
    for name, value in request.headers.items():
        key = name.lower()
        if key in joined:
            # RFC 9110 section 5.3; cookies are the exception (RFC 9113 section 8.2.3).
            separator = "; " if key == "cookie" else ", "
            value = joined[key][1] + separator + value
        joined.setdefault(key, (name, value))
        joined[key] = (joined[key][0], value)
    # The body is given as bytes, which is framing enough.
    joined.pop("transfer-encoding", None)
    # Without this an Accept-Encoding would be invented.
    joined.setdefault("accept-encoding", ("Accept-Encoding", SKIP_HEADER))
    return dict(joined.values())


def _to_response(answer: requests.Response) -> Response:
    raw: urllib3.HTTPResponse = answer.raw
    headers = [
        (name, value)
        for name, value in raw.headers.items()
        if name.lower() not in ("transfer-encoding", "connection", "keep-alive")
    ]
    read = functools.partial(raw.read1, _PIECE, decode_content=False)
    response = Response(
        iter(read, b""), status=f"{answer.status_code} {answer.reason or ''}".rstrip()
    )
    response.headers.clear()
    response.headers.extend(headers)
    response.call_on_close(answer.close)
    return response
