"""What the tests of forwarding fidelity share: the proxies under test, built as the command
builds them, an origin that records every byte, and what each server makes impossible."""

import contextlib
import socket
import threading

import pytest
from wire import Answer, Wire

from rolo.cli.arguments import parse
from rolo.cli.run import proxy_gateway, proxy_handler
from rolo.config.objects import server_settings
from rolo.serving import SERVERS, serve

PROXIES = [
    f"{server}-{mode}"
    for server in ("native", "uvicorn", "hypercorn", "granian", "twisted")
    for mode in ("threads", "loop")
] + ["werkzeug-threads"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

DEADLINE = 10.0


class Exchange(Answer):
    """One request as the origin sees it, and the origin's end of its connection."""

    def __init__(self, connection, buffer):
        self._connection = connection
        self._buffer = buffer
        self.raw_head = self.read_until(b"\r\n\r\n")
        lines = self.raw_head[:-4].decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.method, self.target, _ = lines[0].split(" ")
        pairs = [line.split(":", 1) for line in lines[1:]]
        super().__init__(None, None, [(k, v.strip()) for k, v in pairs])
        self.trailers = []
        self.whole = threading.Event()

    def _more(self):
        data = self._connection.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data

    def read_until(self, marker):
        while (at := self._buffer.find(marker)) < 0:
            self._more()
        return self._take(at + len(marker))

    def read_exactly(self, count):
        while len(self._buffer) < count:
            self._more()
        return self._take(count)

    def _take(self, count):
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def chunk(self):
        """Read one chunk, ``b""`` for the last."""
        size = int(self.read_until(b"\r\n"), 16)
        data = self.read_exactly(size)
        if size:
            assert self.read_exactly(2) == b"\r\n"
        return data

    def read_body(self):
        if self.get("transfer-encoding"):
            while piece := self.chunk():
                self.body += piece
            while (line := self.read_until(b"\r\n")) != b"\r\n":
                name, value = line.decode("latin-1").split(":", 1)
                self.trailers.append((name, value.strip()))
        else:
            self.body += self.read_exactly(int(self.get("content-length") or 0))
        self.whole.set()
        return self.body

    def send(self, data):
        self._connection.sendall(data)

    def until_gone(self):
        """Wait until the proxy has closed the connection, and return what it sent before."""
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                self._more()
        return bytes(self._buffer)


class Origin:
    """Does with every request what ``script`` says; records them in ``exchanges``.

    A script that returns ``False`` ends its connection.
    """

    def __init__(self):
        self._open = set()
        self._threads = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.host}"
        self.reset()
        self._start(self._accept)

    def reset(self):
        self.exchanges = []
        self.connections = 0
        self.script = answering(OK)

    @property
    def last(self):
        return self.exchanges[-1]

    def answer(self, data, *, close=False):
        self.script = answering(data, close=close)

    def close(self):
        # A blocked accept() does not notice close() alone.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE)

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, name="origin")
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(60)
            with self._lock:
                self._open.add(connection)
                self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection):
        buffer = bytearray()
        with connection, contextlib.suppress(EOFError, OSError):
            while True:
                exchange = Exchange(connection, buffer)
                self.exchanges.append(exchange)
                if self.script(exchange) is False:
                    break
        with self._lock:
            self._open.discard(connection)


def answering(data, *, close=False):
    def script(exchange):
        exchange.read_body()
        exchange.send(data)
        return not close

    return script


def request(line, *fields, host=True):
    """Return a request head; text is Latin-1."""
    lines = [f"{line} HTTP/1.1", *(["Host: proxied.test"] if host else []), *fields, "", ""]
    return b"\r\n".join(x if isinstance(x, bytes) else x.encode("latin-1") for x in lines)


class Proxied:
    """One proxy under test, in front of ``origin``."""

    def __init__(self, name, origin, url):
        self.name = name
        self.server, self.mode = name.split("-")
        self.origin = origin
        self.url = url
        self.port = int(url.rpartition(":")[2])

    def wire(self):
        return Wire(self.url, DEADLINE)

    def exchange(self, line, *fields, body=b"", host=True):
        """Send one request, on a connection of its own, and return the answer."""
        with self.wire() as wire:
            wire.send(request(line, *fields, host=host) + body)
            return wire.answer(line.partition(" ")[0])

    def cannot(self, point):
        """Whether the server makes ``point`` impossible; the test then proves what is
        done instead."""
        return self.server in UNSUPPORTED[point]


class Farm:
    """Proxies that are started when first asked for, and stopped together."""

    def __init__(self, running):
        self.origin = Origin()
        running.callback(self.origin.close)
        self._running = running
        self._proxies = {}

    def proxy(self, name, *options, tls=None):
        key = (name, *options)
        if key not in self._proxies:
            self._proxies[key] = self._start(name, options, tls)
        return self._proxies[key]

    def _start(self, name, options, tls):
        server, mode = name.split("-")
        if reason := SERVERS[server].available():
            pytest.skip(reason)
        config = parse(["proxy", self.origin.url, "--mode", mode, *options]).config
        handler = self._running.enter_context(contextlib.closing(proxy_handler(config)))
        gateway = proxy_gateway([handler], config)
        settings = {**server_settings(config), "shutdown_timeout": 1.0, "access_log": False}
        running = self._running.enter_context(serve(gateway, server=server, tls=tls, **settings))
        return Proxied(name, self.origin, running.url)


# What a server makes impossible, as the table of docs/http-support.md calls it.
UNSUPPORTED = {
    "empty query": {"uvicorn", "hypercorn", "granian"},
    "bytes beyond ASCII in the target": {"uvicorn", "hypercorn", "granian"},
    "bytes outside of RFC 3986 in the target": {"granian"},
    "absolute target: its authority": {"uvicorn", "granian"},
    "any method": {"uvicorn"},
    "case of the method": {"uvicorn", "hypercorn"},
    "case of field names": {"uvicorn", "granian"},
    "order among different field names": {"granian"},
    "over 100 fields": {"granian", "werkzeug"},
    "reason phrase": {"uvicorn", "granian"},
    "no Server of its own": {"granian"},
    "Content-Length of a 304": {"uvicorn", "granian"},
    "HEAD without framing": {"hypercorn"},
    "request trailers": {"uvicorn", "hypercorn", "granian"},
    "response trailers": {"uvicorn", "granian", "werkzeug"},
    "interim answers": {"uvicorn", "granian", "werkzeug"},
    "answers between two pieces of an upload": {"werkzeug"},
    "both directions at once": {"werkzeug"},
    "keep-alive": {"werkzeug"},
}
