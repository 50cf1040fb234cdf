"""How ``compare.py`` asks: each answer is taken apart into aspects, to be compared one by one."""

from __future__ import annotations

import base64
import collections
import contextlib
import json
import socket
import typing as t

DEADLINE = 5.0


def ask_http1(port: int, sent: bytes) -> dict[str, t.Any]:
    """Return the answer to ``sent``, taken apart."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(sent)
        try:
            while piece := sock.recv(1 << 20):
                received += piece
        except TimeoutError:
            return {"end": "nothing for 5 seconds"}
        except OSError:
            pass
    interim = []
    while received.startswith(b"HTTP/1.1 1"):
        head, _, received = received.partition(b"\r\n\r\n")
        interim.append(head.split()[1].decode())
    if not received:
        return {"end": "no answer"}
    head, _, body = received.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    fields = [tuple(each.split(": ", 1)) if ": " in each else (each, "") for each in lines]
    answer = described(line.split()[1], fields, body)
    answer["reason"] = line.partition(" ")[2].partition(" ")[2]
    answer["interim"] = interim
    return answer


def described(status: str, fields: t.Sequence[tuple[str, ...]], body: bytes) -> dict[str, t.Any]:
    answer: dict[str, t.Any] = {"status": status}
    lowered = {name.lower().rstrip(":"): value for name, value in fields}
    framing = lowered.get("transfer-encoding", "")
    if framing == "chunked":
        body, whole = unchunked(body)
        if not whole:
            answer["end"] = "cut short"
    elif "content-length" in lowered and len(body) < int(lowered["content-length"]):
        answer["end"] = "without its body" if not body else "cut short"
    answer["framing"] = framing or ("length" if "content-length" in lowered else "none")
    answer["names"] = sorted(n for n, _ in fields if n.lower() not in ("date", "server"))
    values = collections.defaultdict(list)
    for name, value in fields:
        if name.lower() not in ("date", "server", "content-length", "transfer-encoding"):
            values[name.lower()].append(value)
    answer |= {f"field {name}": value for name, value in values.items()}
    answer |= flattened("body", body)
    return answer


def unchunked(body: bytes) -> tuple[bytes, bool]:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length:
            return whole, True
        whole += rest[:length]
        body = rest[length + 2 :]
    return whole, False


def flattened(name: str, body: bytes) -> dict[str, t.Any]:
    """Return ``body`` under ``name``, or each member of it if it is a JSON object."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return {name: body[:2000].decode("latin-1") + (f"... {len(body)}" if body[2000:] else "")}
    result: dict[str, t.Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            result |= {f"{name}.{key}.{k}": v for k, v in value.items()}
        elif key == "names":
            result |= {f"{name}.name {each.lower()}": each for each in value}
        elif key == "fields":
            for field, _ in value:
                result[f"{name}.field {field}"] = [v for n, v in value if n == field]
        else:
            result[f"{name}.{key}"] = value
    return result


def ask_h2(port: int, head: list[tuple[str, str]], body: bytes | None) -> dict[str, t.Any]:
    import h2.config
    import h2.connection
    import h2.events

    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
    connection.initiate_connection()
    pseudo = [(":scheme", "http"), (":authority", "example.org")]
    fields = [*(f for f in head if f[0][0] == ":"), *pseudo, *(f for f in head if f[0][0] != ":")]
    connection.send_headers(1, fields, end_stream=body is None)
    if body is not None:
        connection.send_data(1, body, end_stream=True)
    received, answer, interim = b"", None, []
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as sock:
        sock.sendall(connection.data_to_send())
        while True:
            try:
                data = sock.recv(65536)
            except TimeoutError:
                return {"end": "nothing for 5 seconds"}
            if not data:
                return {"end": "no answer"}
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    answer = event.headers
                elif isinstance(event, h2.events.InformationalResponseReceived):
                    interim.append(event.headers[0][1])
                elif isinstance(event, h2.events.DataReceived):
                    received += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, 1)
                elif isinstance(event, h2.events.StreamReset):
                    return {"end": f"reset {event.error_code!r}"}
                elif isinstance(event, h2.events.StreamEnded):
                    assert answer
                    status, *rest = answer
                    return described(status[1], rest, received) | {"interim": interim}
            sock.sendall(connection.data_to_send())


def ask_websocket(
    port: int, path: str, fields: list[tuple[str, str]], script: list[t.Any]
) -> dict[str, t.Any]:
    from wsproto import events as ws
    from wsproto.connection import Connection, ConnectionType

    key = base64.b64encode(b"0123456789abcdef").decode()
    names = {"Host": "example.org", "Connection": "Upgrade", "Upgrade": "websocket"}
    names |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key, **dict(fields)}
    lines = [f"GET {path} HTTP/1.1", *(f"{n}: {v}" for n, v in names.items()), "", ""]
    heard: list[t.Any] = []
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as sock:
        sock.sendall("\r\n".join(lines).encode())
        received = b""
        while b"\r\n\r\n" not in received:
            piece = sock.recv(65536)
            if not piece:
                return {"end": "no answer"}
            received += piece
        head, _, rest = received.partition(b"\r\n\r\n")
        line, *texts = head.decode("latin-1").split("\r\n")
        found = [tuple(each.split(": ", 1)) for each in texts]
        status = line.split()[1]
        if status != "101":
            lowered = {name.lower(): value for name, value in found}
            length = int(lowered.get("content-length", 0))
            chunks = "transfer-encoding" in lowered
            while (len(rest) < length) if not chunks else not rest.endswith(b"0\r\n\r\n"):
                rest += sock.recv(65536)
            return described(status, found, rest)
        answer = described(status, found, b"")
        frames = Connection(ConnectionType.CLIENT)
        frames.receive_data(rest)
        for step in script:
            if step is None:
                heard.append(next_message(sock, frames))
                continue
            if isinstance(step, tuple):
                closing = None if step[0] == 1005 else step[0]
                sock.sendall(
                    frames.send(ws.CloseConnection(code=closing or 1005, reason=step[1] or None))
                )
            elif isinstance(step, str):
                sock.sendall(frames.send(ws.TextMessage(step)))
            else:
                sock.sendall(frames.send(ws.BytesMessage(step)))
    return answer | {f"heard {number}": each for number, each in enumerate(heard)}


def next_message(sock: socket.socket, frames: t.Any) -> t.Any:
    from wsproto import events as ws

    whole = ""
    while True:
        for event in frames.events():
            if isinstance(event, ws.CloseConnection):
                return ["close", int(event.code), event.reason or ""]
            if isinstance(event, ws.Message):
                whole += event.data if isinstance(event.data, str) else event.data.decode("latin-1")
                if event.message_finished:
                    return [type(event).__name__, whole[:200], len(whole)]
        try:
            data = sock.recv(65536)
        except TimeoutError:
            return "nothing for 5 seconds"
        except OSError:
            return "reset"
        if not data:
            return "end"
        frames.receive_data(data)
