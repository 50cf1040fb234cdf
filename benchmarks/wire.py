"""HTTP/1.1 on plain blocking sockets, no more of it than measuring needs."""

from __future__ import annotations

import socket
import time

RECEIVE_SIZE = 262144


class MeasurementFailed(Exception):
    """The subject did not do what was asked of it; the message says what."""


def request_head(method: str, path: str, *fields: str) -> bytes:
    """Return a request head; ``fields`` are whole lines such as ``"Connection: close"``."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench.example", *fields, "", ""]
    return "\r\n".join(lines).encode()


def connect(port: int, timeout: float) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return the response head, in lower case, and what was received after it.

    :raises MeasurementFailed: the connection ended first, or the status is not 200
    """
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(RECEIVE_SIZE)
        if not data:
            raise MeasurementFailed("connection closed before a complete head")
        received += data
    head, _, rest = received.partition(b"\r\n\r\n")
    status_line = head.partition(b"\r\n")[0]
    if status_line.split()[1:2] != [b"200"]:
        raise MeasurementFailed(f"answered {status_line.decode('latin-1')!r}")
    return head.lower(), rest


def answers_hello(port: int) -> bool:
    """Whether ``GET /hello`` is answered as the origin does it."""
    try:
        with connect(port, timeout=5) as connection:
            connection.sendall(request_head("GET", "/hello", "Connection: close"))
            _, body = read_head(connection)
            while data := connection.recv(RECEIVE_SIZE):
                body += data
    except (OSError, MeasurementFailed):
        return False
    return b"Hello, world!" in body


class Deadline:
    """A point in time, ``seconds`` from now."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """:raises MeasurementFailed: it has passed"""
        if time.monotonic() > self._end:
            raise MeasurementFailed(f"not done within {self._seconds:g} s")
