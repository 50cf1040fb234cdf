"""An origin on threads that records what it is sent and answers as it is told.

Unlike the scripted origins of ``origins.py`` it needs no event loop in the test.
"""

import socket
import threading

from wire import Answer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Seen(Answer):
    """A request as it arrived."""

    def __init__(self, method, target, headers, raw):
        super().__init__(None, None, headers)
        self.method = method
        self.target = target
        self.raw = raw


class ThreadedOrigin:
    """Listens on a free port from construction on; answers ``200 ok`` unless told otherwise."""

    def __init__(self):
        self.requests = []
        self.connections = 0
        self.body_started = threading.Event()
        self._answers = []
        self._script = None
        self._only = self._unless = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open = set()
        self._threads = []
        self._closed = False
        self._start(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    @property
    def last(self):
        return self.requests[-1]

    def answer(self, data, times=1):
        """Answer the next requests with these bytes."""
        self._answers += [data] * times

    def script(self, function, only=None, unless=None):
        """Give the connection to ``function`` once a request head has arrived, its body
        unread; for the target ``only``, or for all, but not for ``unless``. The connection
        ends with it."""
        self._script, self._only, self._unless = function, only, unless

    def close(self):
        if self._closed:
            return
        self._closed = True
        # A blocked accept() does not notice close() alone.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(5)

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
            self.connections += 1
            self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection):
        try:
            with connection, connection.makefile("rb") as file:
                while self._exchange(connection, file):
                    pass
        except OSError:
            pass
        finally:
            self._open.discard(connection)

    def _exchange(self, connection, file):
        raw = b""
        while not raw.endswith(b"\r\n\r\n"):
            line = file.readline()
            if not line:
                return False
            raw += line
        lines = raw[:-4].decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = [(k, v.strip()) for k, v in (line.split(":", 1) for line in lines[1:])]
        seen = Seen(method, target, headers, raw)
        self.requests.append(seen)
        scripted = self._only in (None, target) and target != self._unless
        if self._script is not None and scripted:
            self._script(connection)
            return False
        self._read_body(seen, file)
        connection.sendall(self._answers.pop(0) if self._answers else OK)
        return True

    def _read_body(self, seen, file):
        if seen.get("transfer-encoding"):
            while size := self._chunk_size(file):
                self.body_started.set()
                seen.body += file.read(size)
                file.readline()
            file.readline()
            return
        left = int(seen.get("content-length") or 0)
        while left:
            piece = file.read1(left)
            if not piece:
                raise OSError("the client left")
            self.body_started.set()
            seen.body += piece
            left -= len(piece)

    def _chunk_size(self, file):
        line = file.readline()
        if not line:
            raise OSError("the client left")
        return int(line, 16)
