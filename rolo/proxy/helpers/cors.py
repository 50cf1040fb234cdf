"""Cross-origin requests, allowed at the proxy (Fetch standard, section 3.2)."""

from __future__ import annotations

import typing as t

from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.editable import ProxiedResponse
from rolo.proxy.hooks.hooks import Hooks
from rolo.response import Response
from rolo.wire.fields import HeaderFields

_ANSWERS = (
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
    "Access-Control-Expose-Headers",
    "Access-Control-Max-Age",
)


class Cors(Hooks):
    """Answers preflight requests, and marks answers; what the upstream says is replaced.

    :param origins: who may read answers; ``"*"`` is everybody
    :param methods: beyond GET, HEAD and POST
    :param headers: which fields requests may have; ``None`` is what a preflight asks for
    :param expose: which fields of answers may be read
    :param credentials: whether cookies may come along; then ``origins`` must be named
    :param max_age: seconds that a preflight's answer is good for
    """

    def __init__(
        self,
        origins: t.Collection[str] | t.Literal["*"] = "*",
        *,
        methods: t.Collection[str] = ("PUT", "PATCH", "DELETE"),
        headers: t.Collection[str] | None = None,
        expose: t.Collection[str] = (),
        credentials: bool = False,
        max_age: int = 600,
    ) -> None:
        if credentials and origins == "*":
            raise ValueError("with credentials, name the origins")
        self.origins = origins
        self.methods = methods
        self.headers = headers
        self.expose = expose
        self.credentials = credentials
        self.max_age = max_age

    def on_request(self, context: ProxyContext) -> Response | None:
        request = context.request
        asked = request.headers.get("Access-Control-Request-Method")
        if request.method != "OPTIONS" or asked is None or "Origin" not in request.headers:
            return None
        fields = HeaderFields()
        if self._allow(request.headers["Origin"], fields):
            fields["Access-Control-Allow-Methods"] = ", ".join(self.methods)
            wanted = request.headers.get("Access-Control-Request-Headers")
            allowed = wanted if self.headers is None else ", ".join(self.headers)
            if allowed:
                fields["Access-Control-Allow-Headers"] = allowed
            fields["Access-Control-Max-Age"] = str(self.max_age)
        return Response(status=204, headers=fields.items())

    def on_response(self, context: ProxyContext, response: ProxiedResponse) -> None:
        response.headers.remove(*_ANSWERS)
        origin = context.request.headers.get("Origin")
        if origin is None:
            if self.origins != "*":
                _vary(response.headers)
        elif self._allow(origin, response.headers) and self.expose:
            response.headers["Access-Control-Expose-Headers"] = ", ".join(self.expose)

    def _allow(self, origin: str, headers: HeaderFields) -> bool:
        if self.origins == "*":
            headers["Access-Control-Allow-Origin"] = "*"
            return True
        _vary(headers)
        if origin not in self.origins:
            return False
        headers["Access-Control-Allow-Origin"] = origin
        if self.credentials:
            headers["Access-Control-Allow-Credentials"] = "true"
        return True


def _vary(headers: HeaderFields) -> None:
    varies = ",".join(headers.getlist("Vary"))
    if "origin" not in varies.lower().replace(" ", "").split(","):
        headers.add("Vary", "Origin")
