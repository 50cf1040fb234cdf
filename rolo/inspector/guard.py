"""Who may look: one browser that was given the token, on its own page, and nobody else.

A page of another site can make a browser send requests here. It cannot know the token, its
requests carry no cookie of ours (``SameSite=Strict``), and what claims another origin, or names
us by a host that is not ours (DNS rebinding), is refused.
"""

from __future__ import annotations

import hmac
import secrets
import typing as t
from urllib.parse import urlsplit

from rolo.gateway.chain import HandlerChain, RequestContext
from rolo.request import Request
from rolo.response import Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """A request handler in front of all others.

    :param hosts: the names, beside the loopback ones, under which the page is asked for
    """

    def __init__(self, hosts: t.Iterable[str] = ()) -> None:
        self.token = secrets.token_urlsafe(32)
        """What the URL has to carry once; the browser gets a cookie for it."""
        self._session = secrets.token_urlsafe(32)
        self._hosts = frozenset(("127.0.0.1", "localhost", "[::1]", *hosts))
        self._cookie = f"rolo_inspector_{secrets.token_hex(4)}"

    def __call__(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        request = context.request
        refusal = self._refusal(request)
        if refusal is not None:
            answer = Response(f"{refusal}\n", status=403, mimetype="text/plain")
        elif request.method == "GET" and request.path == "/" and "token" in request.args:
            answer = self._enter(request)
        elif not self._knows(request):
            answer = Response(
                "Open the URL that was printed when the inspector started: it has a token.\n",
                status=403,
                mimetype="text/plain",
            )
        else:
            return
        response.update_from(answer)
        chain.stop()

    def _refusal(self, request: Request) -> str | None:
        host = request.headers.get("Host", "")
        if _name(host) not in self._hosts:
            return "This is not the host of the inspector."
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "Requests of other origins are refused."
        if origin is None and request.method not in ("GET", "HEAD"):
            return "A request that changes something names its origin."
        if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            return "Requests of other sites are refused."
        return None

    def _enter(self, request: Request) -> Response:
        if not hmac.compare_digest(request.args["token"].encode(), self.token.encode()):
            return Response("This is not the token.\n", status=403, mimetype="text/plain")
        answer = Response(status=303, headers={"Location": "/"})
        answer.set_cookie(
            self._cookie,
            self._session,
            httponly=True,
            samesite="Strict",
            secure=request.scheme == "https",
        )
        return answer

    def _knows(self, request: Request) -> bool:
        given = request.cookies.get(self._cookie, "")
        return hmac.compare_digest(given.encode(), self._session.encode())


def harden(chain: HandlerChain[t.Any], context: RequestContext, response: Response) -> None:
    """A response handler: what is served here is ours to show, and nobody else's to use."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _name(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()
