"""A client that speaks HTTP/2, over TLS or in clear text, frame by frame."""

from __future__ import annotations

import socket
import ssl
import typing as t

import h2.config
import h2.connection
import h2.events

DEADLINE = 5.0


class H2Client:
    """One HTTP/2 connection; acknowledges what it receives.

    :param context: for TLS; ``None`` begins in clear text, by prior knowledge
    :param alpn: the server is asked for it, and must choose it
    """

    acknowledges = True

    def __init__(
        self, port: int, context: ssl.SSLContext | None = None, *, alpn: bool = True
    ) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        if context is not None:
            if alpn:
                context.set_alpn_protocols(["h2"])
            tls = context.wrap_socket(self.sock, server_hostname="localhost")
            assert tls.selected_alpn_protocol() == ("h2" if alpn else None)
            self.sock = tls
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding=None)
        )
        self.events: list[h2.events.Event] = []
        self.connection.initiate_connection()
        self.flush()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def flush(self) -> None:
        self.sock.sendall(self.connection.data_to_send())

    def request(
        self,
        path: str = "/",
        *fields: tuple[bytes, bytes],
        body: bytes | None = b"",
        flush: bool = True,
    ) -> int:
        """Send a request; ``None`` leaves its body open. Return the stream's number."""
        stream = self.connection.get_next_available_stream_id()
        head = [
            (b":method", b"GET" if body == b"" else b"POST"),
            (b":scheme", b"https"),
            (b":authority", b"test"),
            (b":path", path.encode()),
        ]
        self.connection.send_headers(stream, [*head, *fields], end_stream=body == b"")
        if flush:
            self.flush()
        if body:
            self.upload(stream, body)
            self.connection.end_stream(stream)
            self.flush()
        return stream

    def upload(self, stream: int, data: bytes) -> None:
        """Send ``data`` as fast as the server's windows let us."""
        while data:
            room = min(self.connection.local_flow_control_window(stream), 16384)
            if room <= 0:
                self.read()
                continue
            self.connection.send_data(stream, data[:room])
            self.flush()
            data = data[room:]

    def until(
        self, kind: type[t.Any] | tuple[type[t.Any], ...], stream: int | None = None
    ) -> t.Any:
        """Return the first event of ``kind`` on ``stream``, reading until it comes."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and (stream is None or stream == event.stream_id):
                    return event
            self.read()

    def read(self) -> None:
        data = self.sock.recv(65536)
        assert data, "the server closed the connection"
        for event in self.connection.receive_data(data):
            if isinstance(event, h2.events.DataReceived) and self.acknowledges:
                self.connection.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
            self.events.append(event)
        self.flush()

    def body(self, stream: int) -> bytes:
        return b"".join(
            event.data
            for event in self.events
            if isinstance(event, h2.events.DataReceived) and event.stream_id == stream
        )
