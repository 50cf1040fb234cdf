"""A request as values: what patterns are held against, live or long after it is over."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import typing as t
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, unquote

from werkzeug.datastructures import Headers, MultiDict
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header
from werkzeug.sansio.utils import get_host

from rolo.request import Request, get_raw_path

WEBSOCKET: t.Final = "WEBSOCKET"
"""The method of :class:`~rolo.websocket.WebSocketRequest`."""
_NO_LIMIT = None


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A part of a multipart form."""

    name: str
    filename: str | None
    """``None``: a plain field."""
    content_type: str | None
    content: bytes


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """A request that has come, or was recorded. What is called as on
    :class:`~rolo.Request` is what it is there.

    ``json``, ``form`` and ``parts`` are made of the body when they are asked for, and raise a
    :class:`ValueError` if it is nothing of the kind.
    """

    method: str
    """``WEBSOCKET`` for a websocket's handshake."""
    host: str
    """As in the field ``Host``, with the port if there is one."""
    raw_path: str
    """As on the wire, without the query."""
    query_string: str
    """As on the wire, without ``?``."""
    headers: Headers
    data: bytes = b""
    """The body, as it came (not decoded)."""
    cut: bool = False
    """The body was longer; :attr:`data` is its beginning."""

    @classmethod
    def of(cls, request: Request, body: bytes = b"", *, cut: bool = False) -> Seen:
        """Return the values of ``request``.

        :param body: what was read of it
        """
        return cls(
            method=request.method,
            host=request.headers.get("host") or get_host(request.scheme, None, request.server),
            raw_path=get_raw_path(request),
            query_string=request.query_string.decode("latin-1"),
            headers=Headers(list(request.headers)),
            data=body,
            cut=cut,
        )

    @property
    def websocket(self) -> bool:
        """Whether it is a websocket's handshake."""
        return self.method == WEBSOCKET

    @functools.cached_property
    def path(self) -> str:
        """Decoded, without the query."""
        return unquote(self.raw_path, errors="replace")

    @functools.cached_property
    def target(self) -> str:
        """Path and query, as on the wire."""
        return f"{self.raw_path}?{self.query_string}" if self.query_string else self.raw_path

    @functools.cached_property
    def args(self) -> MultiDict[str, str]:
        """The query's parameters."""
        return MultiDict(parse_qsl(self.query_string, keep_blank_values=True))

    @functools.cached_property
    def cookies(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in self.headers.getlist("cookie"):
            try:
                cookie = SimpleCookie(line)
            except CookieError:
                continue
            found.update((name, morsel.value) for name, morsel in cookie.items())
        return found

    @functools.cached_property
    def content_type(self) -> str:
        """In lower case and without parameters; empty if there is none."""
        return parse_options_header(self.headers.get("content-type"))[0].lower()

    @functools.cached_property
    def text(self) -> str:
        """The body as text: in its charset, else UTF-8; what is not in it is replaced."""
        options = parse_options_header(self.headers.get("content-type"))[1]
        try:
            return self.data.decode(options.get("charset", "utf-8"), "replace")
        except LookupError:
            return self.data.decode("utf-8", "replace")

    @functools.cached_property
    def json(self) -> t.Any:
        """The body's value, whatever its media type."""
        if self.cut:
            raise ValueError(f"only the first {len(self.data)} bytes of the body were kept")
        if not self.data:
            raise ValueError("no body")
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError) as exc:
            raise ValueError(f"the body is no JSON: {exc}") from exc

    @functools.cached_property
    def form(self) -> MultiDict[str, str]:
        """The fields of an urlencoded or multipart form; files are in :attr:`parts`."""
        return self._form[0]

    @functools.cached_property
    def parts(self) -> list[Part]:
        """The fields, then the files, of a form."""
        form, files = self._form
        return [
            Part(name, None, None, value.encode()) for name, value in form.items(multi=True)
        ] + files

    @functools.cached_property
    def subprotocols(self) -> list[str]:
        """What a websocket's client offers, in its order."""
        return [
            name.strip()
            for line in self.headers.getlist("sec-websocket-protocol")
            for name in line.split(",")
            if name.strip()
        ]

    @functools.cached_property
    def _form(self) -> tuple[MultiDict[str, str], list[Part]]:
        if self.cut:
            raise ValueError(f"only the first {len(self.data)} bytes of the body were kept")
        media_type, options = parse_options_header(self.headers.get("content-type"))
        if media_type not in ("application/x-www-form-urlencoded", "multipart/form-data"):
            raise ValueError(f"the body is no form: {media_type or 'no Content-Type'}")
        parser = FormDataParser(
            max_form_memory_size=_NO_LIMIT, max_form_parts=_NO_LIMIT, silent=False
        )
        try:
            _, form, files = parser.parse(
                io.BytesIO(self.data), media_type, len(self.data), options
            )
        except ValueError as exc:
            raise ValueError(f"the form is broken: {exc}") from exc
        parts = []
        for name, file in files.items(multi=True):
            with file.stream:
                parts.append(Part(name, file.filename, file.content_type, file.read()))
        return MultiDict(form), parts
