"""The list of what is measured; a new kind of traffic is a new entry here and a path in origin.

A measurement runs against one target and returns its figures by key; a figure that cannot be
had (CPU time elsewhere than on Linux) is left out.
"""

from __future__ import annotations

import dataclasses
import statistics
import typing as t

from benchmarks import process
from benchmarks.load import Load, heads_that_differ, run_load, run_requests, small_uploads
from benchmarks.sse import run_streams
from benchmarks.startup import import_seconds, serve_seconds
from benchmarks.subjects import Target
from benchmarks.transfer import PIECE, download, upload
from benchmarks.websockets import run_idle, run_ping_pong

MB = 1_000_000
MIB = 1024 * 1024
SSE_INTERVAL = 0.5

Figures = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much of everything; ``QUICK`` and ``FULL`` below."""

    seconds: float
    """Of load, per measurement."""
    megabytes: int
    """Of a transfer."""
    streams: int
    stream_seconds: float
    sockets: int
    imports: int
    """Fresh processes per round."""


FULL = Scale(seconds=3, megabytes=100, streams=1000, stream_seconds=4, sockets=10_000, imports=3)
QUICK = Scale(seconds=1, megabytes=20, streams=200, stream_seconds=1.5, sockets=500, imports=1)


@dataclasses.dataclass(frozen=True)
class Figure:
    key: str
    label: str
    digits: int = 0
    higher_is_better: bool = False
    ratio_digits: int = 2
    """As many as the clock that it is measured with can tell."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What is measured, what comes of it, and which of its figures are set in relation."""

    name: str
    title: str
    run: t.Callable[[Target, Scale], Figures]
    figures: tuple[Figure, ...]
    compared: tuple[str, ...]
    kind: str = "http"
    """The kind of traffic a subject must take for it: ``http`` or ``websocket``."""
    alone: bool = False
    """Whether it needs a process that has done nothing else, for its memory's sake."""


class _Meter:
    """CPU time and memory that a target takes from now on."""

    def __init__(self, target: Target) -> None:
        self._pid = target.pid
        process.reset_peak_rss(self._pid)
        self._rss = process.rss_bytes(self._pid)
        self._cpu = process.cpu_seconds(self._pid)

    def cpu_seconds(self) -> float | None:
        now = process.cpu_seconds(self._pid)
        return None if now is None or self._cpu is None else now - self._cpu

    def peak_growth(self) -> float | None:
        peak = process.peak_rss_bytes(self._pid)
        return None if peak is None or self._rss is None else max(0, peak - self._rss)

    def growth(self) -> float | None:
        now = process.rss_bytes(self._pid)
        return None if now is None or self._rss is None else now - self._rss


def _figures(**values: float | None) -> Figures:
    return {key: value for key, value in values.items() if value is not None}


def _per(total: float | None, count: float, factor: float) -> float | None:
    return None if total is None or not count else total / count * factor


def _requests(
    requests: t.Callable[[], t.Iterator[bytes]], connections: int
) -> t.Callable[[Target, Scale], Figures]:
    def run(target: Target, scale: Scale) -> Figures:
        sent = requests()
        run_requests(target.port, sent, connections, min(0.3, scale.seconds))
        meter = _Meter(target)
        load = run_requests(target.port, sent, connections, scale.seconds)
        return _load_figures(load, meter)

    return run


def _load_figures(load: Load, meter: _Meter) -> Figures:
    return _figures(
        rate=load.requests / load.seconds,
        cpu=_per(meter.cpu_seconds(), load.requests, 1e6),
        p50=load.p50_ms,
        p99=load.p99_ms,
    )


def _small_get(connections: int) -> t.Callable[[Target, Scale], Figures]:
    def run(target: Target, scale: Scale) -> Figures:
        run_load(target.port, "/hello", connections, min(0.3, scale.seconds))
        meter = _Meter(target)
        return _load_figures(run_load(target.port, "/hello", connections, scale.seconds), meter)

    return run


def _transfer(
    move: t.Callable[..., float], *, chunked: bool
) -> t.Callable[[Target, Scale], Figures]:
    def run(target: Target, scale: Scale) -> Figures:
        size = scale.megabytes * MB // len(PIECE) * len(PIECE)
        meter = _Meter(target)
        seconds = move(target.port, size, chunked=chunked)
        growth = meter.peak_growth()
        return _figures(
            rate=size / MB / seconds,
            cpu=_per(meter.cpu_seconds(), size / MB, 100),
            memory=_per(growth, 1, 1 / MIB),
        )

    return run


def _streams(target: Target, scale: Scale) -> Figures:
    idle = _Meter(target)
    listening: list[_Meter] = []
    figures: Figures = {}

    def opened() -> None:
        figures.update(_figures(memory_bytes=idle.growth()))
        listening.append(_Meter(target))

    def closing(events: int) -> None:
        figures.update(_figures(cpu=_per(listening[0].cpu_seconds(), events, 1e6)))

    seen = run_streams(
        target.port, scale.streams, SSE_INTERVAL, scale.stream_seconds, opened, closing
    )
    memory = figures.pop("memory_bytes", None)
    first, lag = (
        statistics.quantiles(seen.first_ms, n=100),
        statistics.quantiles(seen.lag_ms, n=100),
    )
    return figures | _figures(
        opened=seen.opened,
        first50=first[49],
        first99=first[98],
        lag50=lag[49],
        lag99=lag[98],
        memory=_per(memory, seen.opened, 1 / 1024),
    )


def _ping_pong(connections: int, size: int) -> t.Callable[[Target, Scale], Figures]:
    def run(target: Target, scale: Scale) -> Figures:
        meters: list[_Meter] = []
        game = run_ping_pong(
            target.port, connections, size, scale.seconds, lambda: meters.append(_Meter(target))
        )
        echoes = len(game.latencies_ms)
        percentiles = statistics.quantiles(game.latencies_ms, n=100)
        return _figures(
            rate=echoes / game.seconds,
            cpu=_per(meters[0].cpu_seconds(), echoes, 1e6),
            p50=percentiles[49],
            p99=percentiles[98],
        )

    return run


def _idle_sockets(share: int) -> t.Callable[[Target, Scale], Figures]:
    """:param share: the part of the scale's sockets, as its denominator"""

    def run(target: Target, scale: Scale) -> Figures:
        # A proxy has two files open for each.
        sockets = min(scale.sockets // share, (process.raise_file_limit() - 200) // 2)
        meter = _Meter(target)
        growth: list[float | None] = []
        seconds = run_idle(target.port, sockets, lambda: growth.append(meter.growth()))
        return _figures(
            sockets=sockets,
            memory=_per(growth[0], sockets, 1 / 1024),
            echo=seconds * 1000,
        )

    return run


def _startup(target: Target, scale: Scale) -> Figures:
    subject = target.subject
    imports = [import_seconds(subject) for _ in range(scale.imports)]
    known = [seconds for seconds in imports if seconds is not None]
    return _figures(
        ready=target.ready_seconds * 1000,
        importing=statistics.median(known) * 1000 if known else None,
        serve=_per(serve_seconds(subject), 1, 1000),
    )


_REQUEST_FIGURES = (
    Figure("rate", "req/s", higher_is_better=True),
    Figure("cpu", "CPU us/req"),
    Figure("p50", "p50 ms", 2),
    Figure("p99", "p99 ms", 2),
)
_TRANSFER_FIGURES = (
    Figure("rate", "MB/s", higher_is_better=True),
    Figure("cpu", "CPU s/100 MB", 2, ratio_digits=1),
    Figure("memory", "peak RSS growth MiB", 1),
)
_STREAM_FIGURES = (
    Figure("opened", "streams", higher_is_better=True),
    Figure("first50", "first event p50 ms", 2),
    Figure("first99", "first event p99 ms", 2),
    Figure("lag50", "lag p50 ms", 2),
    Figure("lag99", "lag p99 ms", 2),
    Figure("cpu", "CPU us/event"),
    Figure("memory", "RSS KiB/stream", 1),
)
_STARTUP_FIGURES = (
    Figure("ready", "process start to first answer ms"),
    Figure("importing", "import ms"),
    Figure("serve", "serve() to first answer ms"),
)
_ECHO_FIGURES = (
    Figure("rate", "echoes/s", higher_is_better=True),
    Figure("cpu", "CPU us/echo"),
    Figure("p50", "p50 ms", 2),
    Figure("p99", "p99 ms", 2),
)
_SOCKET_FIGURES = (
    Figure("sockets", "sockets", higher_is_better=True),
    Figure("memory", "RSS KiB/socket", 1),
    Figure("echo", "one echo on each ms"),
)
_SPEED = ("rate", "cpu")

MEASUREMENTS: dict[str, Measurement] = {
    measurement.name: measurement
    for measurement in (
        Measurement(
            "get1", "Small GET, 1 connection", _small_get(1), _REQUEST_FIGURES, ("p50", "cpu")
        ),
        Measurement("get32", "Small GET, 32 connections", _small_get(32), _REQUEST_FIGURES, _SPEED),
        Measurement(
            "get1-varied",
            "Small GET, heads that differ, 1 connection",
            _requests(heads_that_differ, 1),
            _REQUEST_FIGURES,
            ("p50", "cpu"),
        ),
        Measurement(
            "get32-varied",
            "Small GET, heads that differ, 32 connections",
            _requests(heads_that_differ, 32),
            _REQUEST_FIGURES,
            _SPEED,
        ),
        Measurement(
            "post32",
            "Small POST, 32 connections",
            _requests(small_uploads, 32),
            _REQUEST_FIGURES,
            _SPEED,
        ),
        Measurement(
            "download",
            "Download with a length",
            _transfer(download, chunked=False),
            _TRANSFER_FIGURES,
            _SPEED,
        ),
        Measurement(
            "download-chunked",
            "Download in chunks",
            _transfer(download, chunked=True),
            _TRANSFER_FIGURES,
            _SPEED,
        ),
        Measurement(
            "upload",
            "Upload with a length",
            _transfer(upload, chunked=False),
            _TRANSFER_FIGURES,
            _SPEED,
        ),
        Measurement(
            "upload-chunked",
            "Upload in chunks",
            _transfer(upload, chunked=True),
            _TRANSFER_FIGURES,
            _SPEED,
        ),
        Measurement(
            "sse", "Event streams", _streams, _STREAM_FIGURES, ("lag99", "cpu"), alone=True
        ),
        Measurement(
            "ws1",
            "Websocket, 64 bytes, 1 connection",
            _ping_pong(1, 64),
            _ECHO_FIGURES,
            _SPEED,
            kind="websocket",
        ),
        Measurement(
            "ws100",
            "Websocket, 64 bytes, 100 connections",
            _ping_pong(100, 64),
            _ECHO_FIGURES,
            _SPEED,
            kind="websocket",
        ),
        Measurement(
            "ws64k",
            "Websocket, 64 KiB, 1 connection",
            _ping_pong(1, 65536),
            _ECHO_FIGURES,
            _SPEED,
            kind="websocket",
        ),
        Measurement(
            "ws64k8",
            "Websocket, 64 KiB, 8 connections",
            _ping_pong(8, 65536),
            _ECHO_FIGURES,
            _SPEED,
            kind="websocket",
        ),
        Measurement(
            "ws-idle-half",
            "Websockets, mostly idle, half as many",
            _idle_sockets(2),
            _SOCKET_FIGURES,
            ("memory",),
            kind="websocket",
            alone=True,
        ),
        Measurement(
            "ws-idle",
            "Websockets, mostly idle",
            _idle_sockets(1),
            _SOCKET_FIGURES,
            ("memory",),
            kind="websocket",
            alone=True,
        ),
        Measurement("startup", "Start-up", _startup, _STARTUP_FIGURES, ("ready",)),
    )
}
