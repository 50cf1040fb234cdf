"""Websockets frame by frame on raw sockets, both sides, for tests that judge from outside.

A codec of its own: nothing here shares code with what it tests.
"""

import base64
import contextlib
import hashlib
import os
import queue
import socket
import struct

from threaded_origin import OK, Seen, ThreadedOrigin
from wire import Truncated, Wire

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def accept_key(key):
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


def masked(payload, key):
    pad = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(
        len(payload), "big"
    )


def frame(opcode, payload=b"", *, key=None, final=True, reserved=0):
    """Build a frame; masked if there is a ``key``."""
    if isinstance(payload, str):
        payload = payload.encode()
    first = (0x80 if final else 0) | reserved << 4 | opcode
    mask = 0x80 if key is not None else 0
    if len(payload) < 126:
        head = struct.pack("!BB", first, mask | len(payload))
    elif len(payload) < 65536:
        head = struct.pack("!BBH", first, mask | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, mask | 127, len(payload))
    return head + (key + masked(payload, key) if key is not None else payload)


def close_payload(code=None, reason=""):
    return b"" if code is None else struct.pack("!H", code) + reason.encode()


class Frame:
    def __init__(self, first, key, payload):
        self.final = bool(first & 0x80)
        self.reserved = first >> 4 & 7
        self.opcode = first & 15
        self.key = key
        self.payload = payload

    def __repr__(self):
        return f"<Frame {self.opcode} {self.payload[:40]!r}>"

    @property
    def close(self):
        """(code, reason) of a close frame; (None, "") without a code."""
        assert self.opcode == CLOSE, self
        if not self.payload:
            return None, ""
        return struct.unpack("!H", self.payload[:2])[0], self.payload[2:].decode()


class Peer:
    """One side of an open websocket on a socket."""

    def __init__(self, wire, *, client):
        self.wire = wire
        self.client = client

    def send(self, opcode, payload=b"", **options):
        if self.client:
            options.setdefault("key", os.urandom(4))
        self.wire.send(frame(opcode, payload, **options))

    def text(self, payload):
        self.send(TEXT, payload)

    def close(self, code=None, reason=""):
        self.send(CLOSE, close_payload(code, reason))

    def frame(self):
        """Read one frame."""
        first, second = self.wire.read_exactly(2)
        length = second & 127
        if length == 126:
            (length,) = struct.unpack("!H", self.wire.read_exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.wire.read_exactly(8))
        key = self.wire.read_exactly(4) if second & 128 else None
        payload = self._large(length) if length > 65536 else self.wire.read_exactly(length)
        return Frame(first, key, masked(payload, key) if key else payload)

    def _large(self, length):
        """Like ``wire.read_exactly``, in time that does not grow with the square of it."""
        wire = self.wire
        whole = bytearray(length)
        have = min(length, len(wire.buffer))
        whole[:have], wire.buffer = wire.buffer[:have], wire.buffer[have:]
        view = memoryview(whole)
        while have < length:
            count = wire.socket.recv_into(view[have:])
            if not count:
                raise Truncated(f"closed after {have} of {length} bytes")
            have += count
        return bytes(whole)

    def message(self):
        """Read one data message, which must not be fragmented for us to know its end."""
        got = self.frame()
        parts = [got.payload]
        opcode = got.opcode
        assert opcode in (TEXT, BINARY), got
        while not got.final:
            got = self.frame()
            assert got.opcode == 0
            parts.append(got.payload)
        payload = b"".join(parts)
        return payload.decode() if opcode == TEXT else payload

    def closing(self):
        """Read up to the close frame, answer it, and return its code and reason."""
        while (got := self.frame()).opcode != CLOSE:
            pass
        with contextlib.suppress(OSError):
            self.send(CLOSE, got.payload)
        return got.close

    def rest(self):
        return self.wire.read_rest()

    def drop(self):
        self.wire.close()

    def reset(self):
        self.wire.reset()


class Client(Peer):
    """A websocket client."""

    def __init__(self, url, target="/", headers=(), key=KEY, timeout=10.0, buffer=None):
        super().__init__(Wire(url, timeout), client=True)
        # Fragments are to go out as they are sent, not when the one before is acknowledged.
        self.wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer is not None:
            self.wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        names = {name.lower() for name, _ in headers}
        fields = [
            (name, value)
            for name, value in (
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", key),
            )
            if name.lower() not in names and value is not None
        ]
        self.wire.request("GET", target, [*fields, *headers])

    def answer(self):
        """Read the answer to the handshake, body and all unless it is a 101."""
        head = self.wire.head()
        if head.status != 101:
            head.body = self.wire.body(head)
        return head

    def open(self):
        """Read a 101, and return self."""
        head = self.answer()
        assert head.status == 101, (head.status, head.body)
        self.handshake = head
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.drop()


class OriginWire(Wire):
    """What a client's wire can do, on a connection that came in."""

    def __init__(self, connection, timeout):
        self.socket = connection
        connection.settimeout(timeout)
        self.buffer = b""


class OriginSocket(Peer):
    """The origin's side of one websocket, before and after the handshake."""

    def __init__(self, wire, seen):
        super().__init__(wire, client=False)
        self.seen = seen

    def accept(self, *headers, early=b""):
        """Send the 101, with more fields, and with frames in the same packet."""
        fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_key(self.seen.get("sec-websocket-key"))),
            *headers,
        ]
        lines = ["HTTP/1.1 101 Switching Protocols", *(f"{n}: {v}" for n, v in fields)]
        self.wire.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + early)
        return self


def echo(origin):
    """Send back what comes, until it is closed."""
    origin.accept()
    while True:
        got = origin.frame()
        if got.opcode == CLOSE:
            origin.send(CLOSE, got.payload)
            return
        if got.opcode != PONG:
            origin.send(PONG if got.opcode == PING else got.opcode, got.payload, final=got.final)


class WebSocketOrigin(ThreadedOrigin):
    """An origin whose connections are scripts on threads; ``url`` from :class:`ThreadedOrigin`.

    :param play: called with an :class:`OriginSocket` once its handshake is there. Checks
        that fail in it are raised by :meth:`close`.
    """

    def __init__(self, play=echo):
        self.play = play
        self.notes = queue.Queue()
        self.failures = []
        super().__init__()

    def _serve(self, connection):
        wire = OriginWire(connection, 10.0)
        try:
            with connection:
                self._play(wire)
        except (OSError, Truncated):
            pass  # however a script ends, its checks are made elsewhere
        except AssertionError as exc:
            self.failures.append(exc)
        finally:
            self._open.discard(connection)

    def _play(self, wire):
        raw = wire.read_until(b"\r\n\r\n")
        line, *lines = raw[:-4].decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        pairs = [(k, v.strip()) for k, v in (line.split(":", 1) for line in lines)]
        seen = Seen(method, target, pairs, raw)
        self.requests.append(seen)
        if seen.get("upgrade") is None:
            wire.send(OK)
            return
        origin = OriginSocket(wire, seen)
        origin.note = self.notes.put
        self.play(origin)

    def note(self, timeout=5.0):
        """Return the next thing that the script has noted."""
        return self.notes.get(timeout=timeout)

    def close(self):
        super().close()
        for failure in self.failures:
            raise failure
