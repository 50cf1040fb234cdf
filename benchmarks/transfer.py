"""One big body over one raw socket, down or up, framed by length or in chunks."""

from __future__ import annotations

import socket
import time

from benchmarks.wire import (
    RECEIVE_SIZE,
    Deadline,
    MeasurementFailed,
    connect,
    read_head,
    request_head,
)

TRANSFER_TIMEOUT = 60.0
PIECE = bytes(65536)
CHUNK = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)


def download(port: int, size: int, *, chunked: bool) -> float:
    """Fetch ``size`` bytes and return the seconds that took, from the request to the end.

    :raises MeasurementFailed: refused, cut off, or too slow
    """
    deadline = Deadline(TRANSFER_TIMEOUT)
    path = f"/{'chunked' if chunked else 'bytes'}/{size}"
    buffer = bytearray(RECEIVE_SIZE)
    with connect(port, TRANSFER_TIMEOUT) as connection:
        started = time.perf_counter()
        connection.sendall(request_head("GET", path, "Connection: close"))
        head, rest = read_head(connection)
        received, tail = len(rest), rest[-5:]
        while count := connection.recv_into(buffer):
            received += count
            tail = (tail + buffer[max(0, count - 5) : count])[-5:]
            deadline.check()
        elapsed = time.perf_counter() - started
    if b"transfer-encoding: chunked" in head:
        complete = received > size and tail == b"0\r\n\r\n"
    else:
        complete = received == size
    if not complete:
        raise MeasurementFailed(f"got {received} bytes where {size} were sent")
    return elapsed


def upload(port: int, size: int, *, chunked: bool) -> float:
    """Send ``size`` bytes, a multiple of 64 KiB, and return the seconds until the answer.

    :raises MeasurementFailed: refused, cut off, miscounted, or too slow
    """
    deadline = Deadline(TRANSFER_TIMEOUT)
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    piece = CHUNK if chunked else PIECE
    with connect(port, TRANSFER_TIMEOUT) as connection:
        started = time.perf_counter()
        connection.sendall(request_head("POST", "/upload", "Connection: close", framing))
        for _ in range(size // len(PIECE)):
            connection.sendall(piece)
            deadline.check()
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        answer = _read_answer(connection)
        elapsed = time.perf_counter() - started
    if b"%d" % size not in answer:
        raise MeasurementFailed(f"the origin counted {answer!r} of {size} bytes")
    return elapsed


def _read_answer(connection: socket.socket) -> bytes:
    _, body = read_head(connection)
    while data := connection.recv(RECEIVE_SIZE):
        body += data
    return body
