"""The harness, measured: ready, gone, one stub and a thousand, recorded and replayed, and beside
others of its kind.

``python -m benchmarks.harness [--seconds 3] [--mockttp DIRECTORY]``

pytest-httpserver is measured where it can be imported, mockttp where ``DIRECTORY`` has it in its
``node_modules``. Everything runs on this machine: of figures of one run the ratios count.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import typing as t

from benchmarks.load import run_load
from benchmarks.process import cpu_seconds, peak_rss_bytes, reset_peak_rss

ROOT = pathlib.Path(__file__).parent.parent
REQUEST = b"GET /price HTTP/1.1\r\nHost: x\r\n\r\n"
MIB = 1024 * 1024

ROLO = """
import sys
from rolo.harness import Harness
api = Harness(strict=False)
for number in range({stubs} - 1):
    api.get(f"/other/{{number}}").returns("x")
api.get("/price").returns({{"price": 42}})
print(api.port, flush=True)
sys.stdin.read()
"""
HTTPSERVER = """
import sys
from pytest_httpserver import HTTPServer
with HTTPServer() as server:
    server.expect_request("/price").respond_with_json({"price": 42})
    print(server.port, flush=True)
    sys.stdin.read()
"""
MOCKTTP = """
const server = require("mockttp").getLocal();
server.start().then(async () => {
    await server.forGet("/price").thenJson(200, { price: 42 });
    console.log(server.port);
});
"""
LARGE = """
import sys
from rolo.harness import Harness
api = Harness(strict=False)
def pieces():
    for _ in range(400):
        yield b"x" * 262144
api.get("/price").returns(pieces)
print(api.port, flush=True)
sys.stdin.read()
"""
RECORDS = """
import sys
from rolo.harness import Harness
api = Harness({upstream!r}, mode={mode!r}, recording={file!r}, strict=False)
print(api.port, flush=True)
sys.stdin.readline()
api.close()
print("closed", flush=True)
sys.stdin.read()
"""


class Served:
    """A program that prints the port on which it listens."""

    def __init__(self, *command: str, cwd: pathlib.Path = ROOT) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # some write a line for each request
            text=True,
            cwd=cwd,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline() or 0)

    def close(self) -> None:
        """Let a program that waits for it close its harness, and wait until it has."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def python(code: str) -> Served:
    return Served(sys.executable, "-c", code)


def answer(port: int) -> bytes:
    """Ask once, on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(REQUEST)
        return sock.recv(4096)


def ready_ms(rounds: int) -> float:
    """The median time from the call of Harness() to its first answer."""
    from rolo.harness import Harness, ground

    held = ground.hold()  # as the fixture does
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        api = Harness()
        api.get("/price").returns({"price": 42})
        assert answer(api.port).startswith(b"HTTP/1.1 200")
        times.append(time.perf_counter() - started)
        api.close()
    ground.release(held)
    return statistics.median(times) * 1000


def closed_ms(rounds: int, streams: int = 100) -> float:
    """The median time of close() with so many open streams."""
    from rolo.harness import Harness, ground, stay

    held = ground.hold()
    times = []
    for _ in range(rounds):
        api = Harness(strict=False)
        api.get("/price").streams("first", stay())
        clients = []
        for _ in range(streams):
            client = socket.create_connection((api.host, api.port), timeout=5)
            client.sendall(REQUEST)
            assert client.recv(4096)
            clients.append(client)
        started = time.perf_counter()
        api.close()
        times.append(time.perf_counter() - started)
        for client in clients:
            client.close()
    ground.release(held)
    return statistics.median(times) * 1000


def stubs_ratio(seconds: float, rounds: int) -> float:
    """CPU time per request with 1,000 stubs, as a multiple of that with 10."""
    ratios = []
    with python(ROLO.format(stubs=10)) as few, python(ROLO.format(stubs=1000)) as many:
        for _ in range(rounds):
            costs = []
            for server in (few, many):
                before = cpu_seconds(server.pid)
                load = run_load(server.port, "/price", 8, seconds)
                after = cpu_seconds(server.pid)
                assert before is not None
                assert after is not None
                costs.append((after - before) / load.requests)
            ratios.append(costs[1] / costs[0])
    return statistics.median(ratios)


def closing_load(port: int, connections: int, seconds: float) -> float:
    """Requests per second where each has a connection of its own, as some servers want it."""
    counts = [0] * connections
    deadline = time.perf_counter() + seconds

    def client(number: int) -> None:
        while time.perf_counter() < deadline:
            assert answer(port).startswith(b"HTTP/1.")
            counts[number] += 1

    threads = [threading.Thread(target=client, args=(n,)) for n in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def kept_load(port: int, connections: int, seconds: float) -> float:
    """Requests per second on connections that are used again."""
    load = run_load(port, "/price", connections, seconds)
    return load.requests / load.seconds


def compare(
    seconds: float, rounds: int, mockttp: pathlib.Path | None
) -> dict[str, tuple[float, float]]:
    """Median requests per second of each, in turn, on the kind of connection each likes best, and
    the median of the server's CPU time for each, in microseconds."""
    subjects: dict[str, tuple[Served, t.Callable[[int, int, float], float]]] = {
        "rolo": (python(ROLO.format(stubs=1)), kept_load)
    }
    try:
        import pytest_httpserver  # noqa: F401 - whether it is there
    except ModuleNotFoundError:
        print("pytest-httpserver is not installed")
    else:
        subjects["pytest-httpserver"] = (python(HTTPSERVER), closing_load)
    if mockttp is not None:
        subjects["mockttp"] = (Served("node", "-e", MOCKTTP, cwd=mockttp), kept_load)
    rates: dict[str, list[float]] = {name: [] for name in subjects}
    costs: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, (server, load) in subjects.items():
            before = cpu_seconds(server.pid) or 0.0
            rate = load(server.port, 8, seconds)
            after = cpu_seconds(server.pid) or 0.0
            rates[name].append(rate)
            costs[name].append((after - before) / (rate * seconds) * 1_000_000)
    for server, _ in subjects.values():
        server.__exit__()
    return {
        name: (statistics.median(rates[name]), statistics.median(costs[name])) for name in subjects
    }


def take_large(port: int) -> None:
    """Read an answer of 100 MiB to its end."""
    taken = 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        while piece := sock.recv(MIB):
            taken += len(piece)
    assert taken >= 100 * MIB


def grown_mib(server: Served, *, closes: bool) -> float:
    """MiB by which the peak of memory grows with an answer of 100 MiB.

    :param closes: and with the end of the harness, when a recording is written
    """
    reset_peak_rss(server.pid)
    before = peak_rss_bytes(server.pid)
    take_large(server.port)
    if closes:
        server.close()
    after = peak_rss_bytes(server.pid)
    assert before is not None
    assert after is not None
    return (after - before) / MIB


def large_mib() -> dict[str, float]:
    """The growth of memory by an answer of 100 MiB that is stubbed, recorded, and replayed."""
    grown = {}
    with tempfile.TemporaryDirectory() as folder, python(LARGE) as stubbed:
        file = f"{folder}/large.har"
        grown["stubbed"] = grown_mib(stubbed, closes=False)
        upstream = f"http://127.0.0.1:{stubbed.port}"
        with python(RECORDS.format(upstream=upstream, mode="capture", file=file)) as recorded:
            grown["recorded"] = grown_mib(recorded, closes=True)
        with python(RECORDS.format(upstream=None, mode="replay", file=file)) as replayed:
            grown["replayed"] = grown_mib(replayed, closes=True)
    return grown


def pace_ms(pieces: int = 100) -> float:
    """The median of how far the time between two pieces of a replay is from what was recorded."""
    from rolo.harness import Harness, pause, some

    steps = itertools.chain.from_iterable((some(b"x"), pause(0.02)) for _ in range(pieces))
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "paced.har")
        with Harness() as service:
            service.get("/price").streams(*steps)
            with Harness(service.url, mode="capture", recording=file) as api:
                answer_times(api.port, pieces)
        recorded = json.loads(file.read_text())["log"]["entries"][0]["response"]["_pieces"]
        with Harness(recording=file) as api:
            came = answer_times(api.port, pieces)
    assert len(recorded) == len(came) == pieces
    wanted = (later[0] - earlier[0] for earlier, later in itertools.pairwise(recorded))
    got = ((later - earlier) * 1000 for earlier, later in itertools.pairwise(came))
    return statistics.median(abs(w - g) for w, g in zip(wanted, got, strict=True))


def answer_times(port: int, pieces: int) -> list[float]:
    """When each piece of an answer in chunks came to the client, in seconds."""
    times = []
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(REQUEST)
        come = b""
        while not come.endswith(b"0\r\n\r\n"):
            come += sock.recv(4096)
            # Pieces that came together count as come now.
            times += [time.perf_counter()] * (come.count(b"1\r\nx\r\n") - len(times))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mockttp", type=pathlib.Path)
    options = parser.parse_args()
    print(f"ready, first answer:              {ready_ms(50):8.2f} ms")
    print(f"closed, 100 open streams:         {closed_ms(15):8.2f} ms")
    print(f"1,000 stubs, CPU against 10:      {stubs_ratio(options.seconds, options.rounds):8.2f}")
    for what, grown in large_mib().items():
        print(f"100 MiB {what + ', memory:':25} {grown:8.1f} MiB")
    print(f"replayed pace, off by:            {pace_ms():8.2f} ms")
    measured = compare(options.seconds, options.rounds, options.mockttp)
    for name, (rate, cost) in measured.items():
        more, less = measured["rolo"][0] / rate, cost / measured["rolo"][1]
        print(f"requests/s, {name + ':':21} {rate:8.0f}   (rolo has {more:.2f} times as many)")
        print(f"CPU per request, {name + ':':16} {cost:8.0f} us  ({less:.2f} times that of rolo)")


if __name__ == "__main__":
    main()
