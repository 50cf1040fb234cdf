"""A few of the fidelity tests through the command in a process of its own."""

import contextlib
import re
import subprocess
import sys

import pytest
from commanded import LOOP_SERVERS, installed
from fidelity import DEADLINE, OK, Origin, request
from wire import Wire, chunked


@pytest.fixture
def origin():
    with contextlib.closing(Origin()) as origin:
        yield origin


@pytest.fixture(params=LOOP_SERVERS)
def url(request, origin):
    """Where ``rolo proxy`` listens, on each server."""
    options = [
        "--server",
        installed(request.param),
        "--listen",
        "127.0.0.1:0",
        "--forwarded",
        "off",
    ]
    command = [sys.executable, "-m", "rolo", "proxy", origin.url, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        finally:
            process.terminate()
            assert process.wait(DEADLINE) == 0


def test_the_command_forwards_what_it_is_given_and_refuses_what_is_ambiguous(url, origin):
    with Wire(url, DEADLINE) as wire:
        wire.send(request("GET /a%2Fb//c;d", "X~One: 1", "Connection: X-Two", "X-Two: 2"))
        assert wire.answer().body == b"ok"
    expected = request("GET /a%2Fb//c;d", "X~One: 1")
    assert origin.last.raw_head.lower() == expected.lower()
    origin.answer(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    with Wire(url, DEADLINE) as wire:
        wire.send(request("PUT /", "Transfer-Encoding: chunked") + chunked(b"one", b"two"))
        assert wire.answer().body == b"ok"
    assert (origin.last.body, origin.last.get("content-length")) == (b"onetwo", None)
    with Wire(url, DEADLINE) as wire:
        wire.send(request("POST /", "Host: other.test"))
        assert wire.head().status == 400
        assert wire.read_rest().count(b"HTTP/1.") == 0
    assert len(origin.exchanges) == 2
