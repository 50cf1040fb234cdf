"""HTTP responses with the few setters that handlers reach for."""

from __future__ import annotations

import json
import mimetypes
import typing as t
from functools import partial

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from rolo.errors import Failure

if t.TYPE_CHECKING:
    from types import ModuleType

F = t.TypeVar("F", bound=t.Callable[[], t.Any])

# What goes with a body when the body goes.
_BODY_FIELDS = ("Content-Type", "Content-Length", "Transfer-Encoding", "Content-Encoding")


class Response(WerkzeugResponse):
    """A werkzeug response. ``status_code = 0`` is allowed and means *not decided yet*."""

    # Not public, as programs find out by attribute what objects are.
    _failure: Failure | None = None
    """The error that this stands for, if it stands for one; for logs and observers."""

    _spoiler: t.Any = None
    """What spoils this answer on its way out, a :class:`~rolo.bridge.downstream.Spoiler`."""

    _runs_on_close = False
    """Whether somebody has given :meth:`call_on_close` a function, which may do anything."""

    def call_on_close(self, func: F) -> F:
        self._runs_on_close = True
        return t.cast(F, super().call_on_close(func))

    def update_from(self, other: WerkzeugResponse) -> None:
        """Become what ``other`` is: its status, its body, its header fields (repeats and
        order kept), and what it does when closed. Fields of ours that it does not have
        stay, but for those that describe our body.

        Afterwards the body is closed by closing this response; ``other`` is left alone.
        """
        if other is self:
            return
        fields = list(other.headers)
        for name in (*_BODY_FIELDS, *other.headers.keys()):
            self.headers.remove(name)
        for name, value in fields:
            self.headers.add(name, value)
        self.status = other.status
        self.response = other.response
        self.direct_passthrough = other.direct_passthrough
        self._failure = getattr(other, "_failure", None)
        self._spoiler = getattr(other, "_spoiler", None)
        super().call_on_close(partial(_run_close_callbacks, other))
        if getattr(other, "_runs_on_close", False):
            self._runs_on_close = True

    def set_json(self, doc: t.Any, cls: type[json.JSONEncoder] | None = None) -> None:
        """Make ``doc`` the body, as JSON written by the encoder ``cls``."""
        self.data = json.dumps(doc, cls=cls)
        self.mimetype = "application/json"

    def set_response(self, response: str | bytes | bytearray | t.Iterable[bytes] | None) -> None:
        """Make ``response`` the body: text (as UTF-8), bytes, or an iterable of bytes that
        is pulled by the server and closed by this response. ``None`` is no body."""
        if response is None:
            self.response = []
            self.headers.remove("Content-Length")
        elif isinstance(response, str | bytes | bytearray):
            self.set_data(t.cast("str | bytes", response))
        else:
            self.response = response

    def to_readonly_response_dict(self) -> dict[str, t.Any]:
        """Return ``body``, ``status_code`` and ``headers`` as a dict; reads a streamed
        body to its end, and repeated fields are lost."""
        return {
            "body": self.get_data(),
            "status_code": self.status_code,
            "headers": dict(self.headers),
        }

    @classmethod
    def for_json(cls, doc: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Self:
        """Return a response with ``doc`` as its JSON body; the rest goes to the constructor
        (in which the body comes first)."""
        response = cls(*args, **kwargs)
        response.set_json(doc)
        return response

    @classmethod
    def for_resource(cls, module: ModuleType, path: str, *args: t.Any, **kwargs: t.Any) -> t.Self:
        """Return a response that streams a file of a package's resources.

        :param module: the package that has the file
        :param path: the file's path inside it, with ``/``
        :param args: for the constructor, after the body; ``kwargs`` likewise. The media
            type is guessed from the file's name unless given.
        :raises NotFound: the package has no such file
        """
        from importlib import resources

        if ".." in path.split("/") or path.startswith("/") or "\\" in path:
            raise NotFound
        resource = resources.files(module).joinpath(path)
        if not resource.is_file():
            raise NotFound
        if "content_type" not in kwargs:
            guessed = mimetypes.guess_type(path)[0]
            kwargs.setdefault("mimetype", guessed or "application/octet-stream")
        return cls(_FileBody(resource.open("rb")), *args, **kwargs)


class _FileBody:
    """Pieces of an open file, which is closed with the body."""

    def __init__(self, file: t.IO[bytes], size: int = 64 * 1024) -> None:
        self._file = file
        self._size = size

    def __iter__(self) -> t.Iterator[bytes]:
        return iter(lambda: self._file.read(self._size), b"")

    def close(self) -> None:
        self._file.close()


def _run_close_callbacks(response: WerkzeugResponse) -> None:
    """Close ``response`` but for its body, which has another owner now."""
    body, response.response = response.response, ()
    try:
        response.close()
    finally:
        response.response = body
