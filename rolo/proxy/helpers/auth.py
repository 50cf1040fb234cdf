"""Basic authentication (RFC 7617): given to the upstream, asked of the client."""

from __future__ import annotations

import base64
import binascii
import hmac
import typing as t

from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.editable import OutboundRequest
from rolo.proxy.hooks.hooks import Hooks
from rolo.response import Response
from rolo.wire.error_page import CONTENT_TYPE, error_text

Check = t.Callable[[str, str], bool]


def basic_auth(user: str, password: str) -> str:
    """Return the value of ``Authorization`` for these.

    :raises ValueError: ``user`` has a colon
    """
    if ":" in user:
        raise ValueError("a user name cannot have a colon")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def parse_basic_auth(value: str | None) -> tuple[str, str] | None:
    """Return user and password of an ``Authorization`` field, ``None`` if it has none."""
    scheme, _, token = (value or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = (
            base64.b64decode(token.strip(), validate=True).decode().partition(":")
        )
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None


class BasicAuth(Hooks):
    """Logs in to the upstream; what the client says in ``Authorization`` is replaced."""

    def __init__(self, user: str, password: str) -> None:
        self._value = basic_auth(user, password)

    def on_outgoing(self, context: ProxyContext, outbound: OutboundRequest) -> None:
        outbound.headers["Authorization"] = self._value


class RequireBasicAuth(Hooks):
    """Lets in only clients that log in, and keeps their password from the upstream. The
    user's name is ``context.user`` from then on.

    :param check: users and their passwords, or what decides over a pair
    """

    def __init__(self, check: t.Mapping[str, str] | Check, realm: str = "proxy") -> None:
        self._check = check if callable(check) else _checker(check)
        self._realm = realm.replace("\\", "\\\\").replace('"', '\\"')

    def on_request(self, context: ProxyContext) -> Response | None:
        given = parse_basic_auth(context.request.headers.get("Authorization"))
        if given is None or not self._check(*given):
            response = Response(error_text(401), status=401, content_type=CONTENT_TYPE)
            response.headers["WWW-Authenticate"] = f'Basic realm="{self._realm}", charset="UTF-8"'
            return response
        context.user = given[0]
        return None

    def on_outgoing(self, context: ProxyContext, outbound: OutboundRequest) -> None:
        outbound.headers.remove("Authorization")


def _checker(users: t.Mapping[str, str]) -> Check:
    def check(user: str, password: str) -> bool:
        known = users.get(user)
        # Compared even for unknown users, so that the time tells nothing.
        same = hmac.compare_digest((known or "").encode(), password.encode())
        return same and known is not None

    return check
