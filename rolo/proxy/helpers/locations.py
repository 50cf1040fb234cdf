"""URLs and cookies of an upstream, made right for clients of the proxy."""

from __future__ import annotations

import re
import typing as t

from rolo.proxy.hooks.context import ProxyContext
from rolo.proxy.hooks.editable import ProxiedResponse
from rolo.proxy.hooks.hooks import Hooks

# Up to the URL; possessive, since nothing here can be shared out in two ways.
_REFRESH = re.compile(r"\s*+\d++(?:\.\d*+)?\s*+[;,]\s*+url\s*+=\s*+['\"]?+", re.I)


def rewrite_url(url: str, inside: str, outside: str) -> str:
    """Return ``url`` below ``outside`` if it is below ``inside``, else unchanged.

    Both are URLs (``http://internal:8080/base``) or paths (``/base``). Schemes and hosts
    are compared without regard to case; a prefix ends where a segment ends.
    """
    prefix = inside.rstrip("/")
    start, rest = url[: len(prefix)], url[len(prefix) :]
    if not _same(start, prefix) or rest[:1] not in ("", "/", "?", "#"):
        return url
    return (outside.rstrip("/") + rest) or "/"


def rewrite_refresh(value: str, inside: str, outside: str) -> str:
    """Return a ``Refresh`` field with its URL through :func:`rewrite_url`."""
    return _refreshed(value, lambda url: rewrite_url(url, inside, outside))


def rewrite_cookie(
    value: str,
    *,
    domain: tuple[str, str | None] | None = None,
    path: tuple[str, str] | None = None,
) -> str:
    """Return a ``Set-Cookie`` field for another domain or path; other attributes and their
    order stay.

    :param domain: from and to; to ``None`` removes the attribute, so that the cookie is the
        proxy's host's
    :param path: prefix from and to
    """
    first, *attributes = value.split(";")
    kept = [first]
    for attribute in attributes:
        name, _, given = attribute.partition("=")
        key, given = name.strip().lower(), given.strip()
        if key == "domain" and domain and given.lstrip(".").lower() == domain[0].lower():
            if domain[1] is None:
                continue
            attribute = f"{name}={domain[1]}"
        elif key == "path" and path:
            attribute = f"{name}={rewrite_url(given, *path)}"
        kept.append(attribute)
    return ";".join(kept)


class ReverseUrls(Hooks):
    """Makes the URLs of the upstream those of the proxy: in ``Location``,
    ``Content-Location``, ``Refresh``, and the domains and paths of cookies.

    :param outside: the URL under which clients know what is at the upstream's base URL
        (``https://example.org/api``); ``None`` takes scheme and host of each request
    """

    def __init__(self, outside: str | None = None) -> None:
        self.outside = outside

    def on_response(self, context: ProxyContext, response: ProxiedResponse) -> None:
        inside = str(context.upstream)
        outside = self.outside
        if outside is None:
            outside = f"{context.request.scheme}://{context.request.host}"
        inner, outer = _path(inside), _path(outside)

        def url(value: str) -> str:
            if value.startswith("//"):
                # RFC 3986 section 4.2: a network-path reference, in the scheme of the answer.
                scheme = inside.partition(":")[0]
                changed = rewrite_url(f"{scheme}:{value}", inside, outside)
                return changed if changed.startswith("/") else changed.partition(":")[2]
            if not value.startswith("/"):
                return rewrite_url(value, inside, outside)
            return value if inner == outer else rewrite_url(value, inner or "/", outer)

        headers = response.headers
        headers.replace("Location", url)
        headers.replace("Content-Location", url)
        headers.replace("Refresh", lambda value: _refreshed(value, url))
        if "Set-Cookie" in headers:
            host = context.upstream.origin.host
            headers.replace(
                "Set-Cookie",
                lambda value: rewrite_cookie(
                    value, domain=(host, None), path=(inner or "/", outer or "/")
                ),
            )


def _refreshed(value: str, edit: t.Callable[[str], str]) -> str:
    match = _REFRESH.match(value)
    if match is None:
        return value
    start = match.end()
    end = max(start, len(value.rstrip()))
    if value[start - 1] in "'\"":
        if end > start and value[end - 1] == value[start - 1]:
            end -= 1
        else:
            start -= 1  # a quote that nothing ends is part of the URL
    url, after = value[start:end], value[end:]
    return f"{value[:start]}{edit(url)}{after}"


def _same(one: str, other: str) -> bool:
    one_base, other_base = _base(one), _base(other)
    return (
        one_base.lower() == other_base.lower()
        and one[len(one_base) :] == (other[len(other_base) :])
    )


def _base(url: str) -> str:
    """Return scheme and authority of ``url``; empty for a path."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if separator else ""


def _path(url: str) -> str:
    return url[len(_base(url)) :].rstrip("/")
