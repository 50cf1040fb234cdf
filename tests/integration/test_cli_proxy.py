"""The command as users run it: its own process, real traffic, real signals."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from rolo.demo import demo_origin
from rolo.serving import serve

DEADLINE = 20.0


class Command:
    """``rolo ARGS`` in a process of its own."""

    def __init__(self, *args):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rolo", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream,))
            for stream in (self.process.stdout, self.process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream):
        for line in stream:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def expect(self, pattern):
        """Wait for a line of output that has ``pattern``; return the match."""

        def found():
            matches = (re.search(pattern, line) for line in self.lines)
            return next(filter(None, matches), None)

        with self._changed:
            match = self._changed.wait_for(found, DEADLINE)
            assert match, self.lines
            return match

    def port(self):
        return int(self.expect(r"listens on http://127\.0\.0\.1:(\d+)")[1])

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(DEADLINE)
        for reader in self._readers:
            reader.join(DEADLINE)
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def rolo():
    with contextlib.ExitStack() as stack:

        def start(*args):
            command = Command(*args)
            stack.callback(command.close)
            return command

        yield start


@pytest.fixture(scope="module")
def origin():
    with serve(demo_origin(), server="werkzeug") as server:
        yield server


def get(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()


@pytest.mark.parametrize("mode", ["loop", "threads"])
def test_forwards_logs_and_stops(rolo, origin, mode):
    command = rolo("proxy", origin.url, "--listen", "127.0.0.1:0", "--mode", mode)
    port = command.port()
    assert command.expect(f"forwarding to {origin.url} \\((\\w+), {mode} mode\\)")
    status, body = get(port, "/echo/a%2Fb?x=%20", Host="proxied.test")
    assert status == 200
    assert json.loads(body)["url"].startswith("http://proxied.test/echo/a")
    command.expect(r'127\.0\.0\.1 - - \[.*\] "GET /echo/a%2Fb\?x=%20 HTTP/1\.1" 200 \d+\.\d{3} 200')
    assert command.stop() == 0
    assert not [line for line in command.lines if "Traceback" in line]


def test_host_of_the_upstream(rolo, origin):
    command = rolo("proxy", origin.url, "--listen", "127.0.0.1:0", "--no-preserve-host")
    _, body = get(command.port(), "/echo", Host="proxied.test")
    assert json.loads(body)["url"] == f"{origin.url}/echo"


def test_dead_upstream_is_502_and_one_log_line(rolo):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    command = rolo("proxy", url, "--listen", "127.0.0.1:0")
    assert get(command.port(), "/")[0] == 502
    command.expect(f"upstream error.*{url}")
    command.expect(r'"GET / HTTP/1\.1" 502 \d+\.\d{3} - 16 ConnectError$')


def test_running_exchange_is_finished_at_the_signal(rolo, origin):
    command = rolo("proxy", origin.url, "--listen", "127.0.0.1:0")
    connection = http.client.HTTPConnection("127.0.0.1", command.port(), timeout=DEADLINE)
    with contextlib.closing(connection):
        connection.request("GET", "/events?count=3&interval=0.3")
        response = connection.getresponse()
        assert response.readline() == b"id: 0\n"
        command.process.send_signal(signal.SIGTERM)
        assert b"event 2 of 3" in response.read()
    assert command.wait() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_second_signal_stops_at_once(rolo, origin, workers):
    command = rolo("proxy", origin.url, "--listen", "127.0.0.1:0", "--workers", workers)
    with socket.create_connection(("127.0.0.1", command.port()), DEADLINE) as client:
        client.sendall(b"GET /events?count=1e9&interval=0.02 HTTP/1.1\r\nHost: x\r\n\r\n")
        while b"event 0" not in client.recv(65536):
            pass
        command.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            command.process.wait(0.3)
        assert command.stop() == 1
        with contextlib.suppress(ConnectionResetError):
            while client.recv(65536):
                pass


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
def test_a_hangup_is_ignored_and_told(rolo, origin):
    command = rolo("proxy", origin.url, "--listen", "127.0.0.1:0")
    port = command.port()
    command.process.send_signal(signal.SIGHUP)
    command.expect("SIGHUP is ignored")
    assert get(port, "/echo")[0] == 200
    assert command.stop() == 0


# --- workers ----------------------------------------------------------------------------


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return {int(child) for child in file.read().split()}


def await_that(condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc")


@needs_proc
def test_dead_worker_is_replaced_and_all_stop_together(rolo, origin):
    command = rolo("proxy", origin.url, "--listen", "127.0.0.1:0", "--workers", "2")
    port = command.port()
    pid = command.process.pid
    await_that(lambda: len(children(pid)) == 2)
    assert get(port, "/echo")[0] == 200
    first = children(pid)
    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    command.expect(f"worker {victim} ended")
    await_that(lambda: len(children(pid) - {victim}) == 2)
    assert get(port, "/echo")[0] == 200
    workers = children(pid)
    assert command.stop() == 0
    assert not [worker for worker in workers if alive(worker)]


@needs_proc
def test_workers_end_with_their_parent(rolo, origin):
    command = rolo("proxy", origin.url, "--listen", "127.0.0.1:0", "--workers", "2")
    port = command.port()
    assert get(port, "/echo")[0] == 200
    workers = children(command.process.pid)
    command.process.kill()
    command.process.wait(DEADLINE)
    await_that(lambda: not any(alive(worker) for worker in workers))


def test_who_connects_while_workers_stop_is_not_left_waiting(rolo, origin):
    patient = ("--shutdown-timeout", "60")
    command = rolo("proxy", origin.url, "--listen", "127.0.0.1:0", "--workers", "2", *patient)
    port = command.port()
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
        client.sendall(b"GET /events?count=1e9&interval=0.02 HTTP/1.1\r\nHost: x\r\n\r\n")
        while b"event 0" not in client.recv(65536):
            pass
        command.process.send_signal(signal.SIGTERM)
        refused = False
        while not refused:
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as late:
                    late.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    while late.recv(65536):
                        pass
            except ConnectionRefusedError:
                refused = True
            except ConnectionError:
                pass
        assert command.stop() == 1  # at once: it still waited for the first client


# --- the demo ---------------------------------------------------------------------------


def test_demo_forwards_and_answers_beside_it(rolo):
    command = rolo("demo", "--listen", "127.0.0.1:0")
    port = command.port()
    command.expect(r"curl .*/local/price")
    assert get(port, "/echo")[0] == 200
    assert get(port, "/download/100000") == (200, (bytes(range(256)) * 400)[:100000])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    with contextlib.closing(connection):
        body = json.dumps({"name": "tea", "price": 2.5, "quantity": 2})
        connection.request("POST", "/local/price", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert json.loads(response.read()) == {"name": "tea", "total": 5.0}
        connection.request("PUT", "/upload", iter([b"x" * 1000] * 100), encode_chunked=True)
        response = connection.getresponse()
        assert json.loads(response.read())["bytes"] == 100_000
    assert command.stop() == 0
