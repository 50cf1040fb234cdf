"""A WSGI call with somebody looking on, as far as WSGI shows what passes."""

from __future__ import annotations

import typing as t

from rolo.bridge.downstream import RequestHead
from rolo.bridge.observation import Observation
from rolo.bridge.observed import Progress
from rolo.request import headers_from_environ

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_READING = ("read", "read1", "readline")


def observed_call(
    serve: t.Callable[[WSGIEnvironment, StartResponse, Progress], t.Iterable[bytes]],
    observation: Observation,
    environ: WSGIEnvironment,
    start_response: StartResponse,
) -> t.Iterable[bytes]:
    """Let ``serve`` answer one WSGI call, and tell of it."""
    progress = Progress(observation, observation.begin("http", _head(environ)))
    environ["wsgi.input"] = _SeenInput(environ["wsgi.input"], progress.piece_in)

    def start(status: str, headers: list[tuple[str, str]], *args: t.Any) -> t.Any:
        code, _, reason = status.partition(" ")
        progress.answer(int(code), _bytes(reason), [(_bytes(n), _bytes(v)) for n, v in headers])
        return start_response(status, headers, *args)

    try:
        return _SeenBody(serve(environ, t.cast("StartResponse", start), progress), progress)
    except BaseException as exc:
        progress.broken = exc
        progress.over(gone=False)
        raise


class _SeenBody:
    """The body of an answer. Its server closes it, whatever happens."""

    def __init__(self, body: t.Iterable[bytes], progress: Progress) -> None:
        self._body = body
        self._pieces = iter(body)
        self._progress = progress
        self._closed = False

    def __iter__(self) -> t.Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        progress = self._progress
        try:
            piece = next(self._pieces)
        except StopIteration:
            progress.whole = True
            raise
        except BaseException as exc:
            progress.broken = exc
            raise
        progress.piece_out(piece)
        return piece

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        progress = self._progress
        try:
            t.cast(t.Any, self._body).close()
        finally:
            # A server that stops in the middle has lost its client.
            progress.over(gone=not progress.whole and progress.broken is None)


class _SeenInput:
    """``wsgi.input``, with what is read of it shown to ``see``."""

    def __init__(self, stream: t.Any, see: t.Callable[[bytes], None]) -> None:
        self._stream = stream
        self._see = see

    def __getattr__(self, name: str) -> t.Any:
        value = getattr(self._stream, name)
        return self._seen(value) if name in _READING else value

    def _seen(self, read: t.Callable[..., bytes]) -> t.Callable[..., bytes]:
        def seen(*args: t.Any) -> bytes:
            data = read(*args)
            self._see(data)
            return data

        return seen

    def readinto(self, buffer: t.Any) -> int:
        count = int(self._stream.readinto(buffer))
        self._see(bytes(memoryview(buffer)[:count]))
        return count

    def readlines(self, hint: int = -1, /) -> list[bytes]:
        lines: list[bytes] = self._stream.readlines(hint)
        self._see(b"".join(lines))
        return lines

    def __iter__(self) -> t.Iterator[bytes]:
        for line in self._stream:
            self._see(line)
            yield line


def _head(environ: WSGIEnvironment) -> RequestHead:
    """Return the head that ``environ`` was made of, as far as it tells."""
    query = _bytes(environ.get("QUERY_STRING", ""))
    path = _bytes(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    address, port = environ.get("REMOTE_ADDR"), str(environ.get("REMOTE_PORT", ""))
    return RequestHead(
        environ["REQUEST_METHOD"],
        _bytes(target) if target else path + (b"?" + query if query else b""),
        [(_bytes(name), _bytes(value)) for name, value in headers_from_environ(environ)],
        environ.get("SERVER_PROTOCOL", "HTTP/1.1").removeprefix("HTTP/"),
        environ["wsgi.url_scheme"],
        path.decode("utf-8", "replace"),
        query,
        environ.get("SCRIPT_NAME", ""),
        (address, int(port) if port.isdecimal() else 0) if address else None,
        (environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
    )


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")
