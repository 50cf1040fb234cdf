"""A client that speaks HTTP/1.1 on a raw socket, for tests that judge from outside."""

import contextlib
import socket
from urllib.parse import urlsplit


class Truncated(AssertionError):
    """The answer ended before it was complete."""


class Answer:
    def __init__(self, status, reason, headers):
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = b""

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        return values[0] if values else None


class Wire:
    """One connection. Every wait ends after ``timeout`` seconds."""

    def __init__(self, url, timeout=5.0):
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout)
        self.host = parts.netloc
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Leave rudely, so that the other side gets a reset instead of an end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def request(self, method, target, headers=(), body=None):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def get(self, target, headers=()):
        self.request("GET", target, headers)
        return self.answer()

    def read_more(self):
        data = self.socket.recv(65536)
        if not data:
            return False
        self.buffer += data
        return True

    def wait(self):
        """Wait until more has arrived, and leave it there."""
        if not self.buffer:
            self.socket.recv(1, socket.MSG_PEEK)

    def read_until(self, marker):
        """Return everything up to and including ``marker``."""
        while marker not in self.buffer:
            if not self.read_more():
                raise Truncated(f"closed before {marker!r}, got {self.buffer!r}")
        end = self.buffer.index(marker) + len(marker)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    def read_exactly(self, count):
        while len(self.buffer) < count:
            if not self.read_more():
                raise Truncated(f"closed after {len(self.buffer)} of {count} bytes")
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_rest(self):
        """Return everything up to the end of the connection."""
        with contextlib.suppress(ConnectionResetError):
            while self.read_more():
                pass
        data, self.buffer = self.buffer, b""
        return data

    def read_rest_strictly(self):
        """As ``read_rest``, but a reset is raised as what it is."""
        while self.read_more():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def head(self):
        """Read one head, interim ones too."""
        lines = self.read_until(b"\r\n\r\n")[:-4].decode("latin-1").split("\r\n")
        _, status, reason = (lines[0] + " ").split(" ", 2)
        pairs = [line.split(":", 1) for line in lines[1:]]
        return Answer(int(status), reason.strip(), [(k, v.strip()) for k, v in pairs])

    def chunk(self):
        """Read one chunk, ``b""`` for the last."""
        size = int(self.read_until(b"\r\n").split(b";")[0], 16)
        data = self.read_exactly(size)
        if size:
            assert self.read_exactly(2) == b"\r\n"
        return data

    def piece(self, answer):
        """Read some of the body of ``answer``: a chunk, or what has arrived."""
        if answer.get("transfer-encoding"):
            return self.chunk()
        if not self.buffer:
            self.read_more()
        data, self.buffer = self.buffer, b""
        return data

    def body(self, answer, method="GET"):
        """Read the rest of the body of ``answer``; raise Truncated if it does not end."""
        if method == "HEAD" or answer.status in (204, 304):
            return b""
        try:
            if answer.get("transfer-encoding"):
                pieces = []
                while piece := self.chunk():
                    pieces.append(piece)
                while self.read_until(b"\r\n") != b"\r\n":
                    pass
                return b"".join(pieces)
            if answer.get("content-length") is not None:
                return self.read_exactly(int(answer.get("content-length")))
            return self.read_rest()
        except ConnectionResetError as exc:
            raise Truncated("reset") from exc

    def answer(self, method="GET"):
        """Read one whole answer, skipping interim ones."""
        answer = self.head()
        while answer.status < 200:
            answer = self.head()
        answer.body = self.body(answer, method)
        return answer


def chunked(*pieces):
    """Return ``pieces`` as a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def fetch(url, target="/", method="GET", headers=(), body=None):
    """Send one request on a connection of its own and return the answer."""
    with Wire(url) as wire:
        wire.request(method, target, headers, body)
        return wire.answer(method)
