"""An origin whose connections are scripted one by one, on threads."""

import socket
import threading


class RawOrigin:
    """Each connection is given to ``script(connection, number)``, from 1 on, and ends with it.
    ``heads`` holds every request head that arrived."""

    def __init__(self, script):
        self.heads = []
        self.connections = 0
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = []
        self._open = set()
        self._start(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(5)

    def head(self, connection):
        """Read one head, ``b""`` at the end of the connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return b""
            data += more
        self.heads.append(data)
        return data

    @property
    def open(self):
        """How many connections are open."""
        return len(self._open)

    @property
    def lines(self):
        return [head.partition(b" HTTP/")[0].decode() for head in self.heads]

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
            self._start(self._serve, connection, self.connections)

    def _serve(self, connection, number):
        self._open.add(connection)
        connection.settimeout(10)
        try:
            with connection:
                self._script(self, connection, number)
        except OSError:
            pass
        finally:
            self._open.discard(connection)
