"""What the inspector costs, and how soon its page is there::

    python -m benchmarks.inspector

Small GETs through the native server in ``loop`` mode, processor time of the proxy with an
inspector against the same without, in alternating rounds; then the time to the first rows of a
page with 20,000 exchanges (with playwright and Chromium, else that is left out).
"""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import resource
import shutil
import socket
import statistics
import sys
import threading
import time

from rolo.gateway import Gateway
from rolo.har import Entry, Recording
from rolo.inspector import Inspector
from rolo.proxy import ProxyHandler
from rolo.serving import serve

CONNECTIONS = 16
REQUESTS = 300
ROUNDS = 7
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!"


def origin() -> int:
    """Serve the same answer to everybody, in threads; return the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def answer(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            connection.sendall(ANSWER * data.count(b"\r\n\r\n"))

    def accept() -> None:
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def proxy(
    upstream: int, inspected: bool, watched: bool, pipe: multiprocessing.connection.Connection
) -> None:
    """Serve until the pipe says so; tell the processor time whenever it asks."""
    gc.freeze()
    gc.set_threshold(20_000)  # as the command does
    handler = ProxyHandler(f"http://127.0.0.1:{upstream}")
    gateway = Gateway([handler])
    inspector = Inspector(gateway)
    observers = [inspector.observer] if inspected else []
    if inspected:
        handler.proxy.use([inspector.hooks])
    if watched:
        inspector.store.watch()  # as an open page does
    with serve(gateway, server="native", mode="loop", observers=observers) as server:
        pipe.send(server.port)
        while pipe.recv():
            used = resource.getrusage(resource.RUSAGE_SELF)
            pipe.send(used.ru_utime + used.ru_stime)


def load(port: int) -> None:
    """Send requests over all connections, one on each at a time."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    for number in range(REQUESTS):
        for each in sockets:
            each.sendall(b"GET /x/%d?a=1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n" % number)
        for each in sockets:
            answer = b""
            while not answer.endswith(b"World!"):
                answer += each.recv(65536)
    for each in sockets:
        each.close()


def ratio(watched: bool) -> float:
    """Return the processor time of a GET with an inspector against one without."""
    upstream, pipes = origin(), []
    for inspected in (False, True):
        pipe, other = multiprocessing.Pipe()
        process = multiprocessing.Process(
            target=proxy, args=(upstream, inspected, watched, other), daemon=True
        )
        process.start()
        pipes.append((pipe, pipe.recv(), process))
    for _, port, _ in pipes:
        load(port)
    ratios = []
    for _ in range(ROUNDS):
        used = []
        for pipe, port, _ in pipes:
            pipe.send(True)
            before = pipe.recv()
            load(port)
            pipe.send(True)
            used.append(pipe.recv() - before)
        ratios.append(used[1] / used[0])
    for pipe, _, process in pipes:
        pipe.send(False)
        process.join(10)
    return statistics.median(ratios)


def first_paint(count: int = 20_000) -> float | None:
    """Return the seconds from asking for the page to its first rows; ``None`` if there is no
    browser to ask with."""
    path = shutil.which("chromium")
    if path is None:
        return None
    from playwright.sync_api import sync_playwright

    inspector = Inspector()
    entries = [
        Entry("GET", f"http://h/{number}?q=1", started=time.time()) for number in range(count)
    ]
    inspector.show(Recording(entries))
    with inspector.open() as page, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(page.url)
        times = []
        for _ in range(5):
            began = time.perf_counter()
            tab.goto(page.address, wait_until="commit")
            tab.wait_for_selector("#list .line")
            times.append(time.perf_counter() - began)
        browser.close()
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    multiprocessing.set_start_method("spawn")
    for watched in (False, True):
        what = "a page is open" if watched else "nobody looks"
        found = ratio(watched)
        sys.stdout.write(f"small GET, {what}: {found:.2f} of the processor time without\n")
    paint = first_paint()
    shown = "no browser" if paint is None else f"{paint * 1000:.0f} ms"
    sys.stdout.write(f"first rows of 20,000 exchanges: {shown}\n")


if __name__ == "__main__":
    main()
