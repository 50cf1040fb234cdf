"""Writing several pieces: what pauses the protocol, on which version."""

import asyncio
import pathlib
import re
import socket

import pytest

import rolo
from rolo.net import gather
from rolo.net.gather import write_pieces, writelines_pauses
from rolo.serving.loop import loop_factory


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_pieces_that_nobody_takes_pause_the_protocol(kind):
    class Protocol(asyncio.Protocol):
        paused = False

        def pause_writing(self):
            self.paused = True

    async def main():
        ours, theirs = socket.socketpair()
        with theirs:
            transport, protocol = await asyncio.get_running_loop().create_connection(
                Protocol, sock=ours
            )
            transport.set_write_buffer_limits(high=1000)
            write_pieces(transport, [b"x" * 1000] * 8000)
            assert protocol.paused
            transport.abort()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=loop_factory(kind)) as runner:
        runner.run(main())


@pytest.mark.parametrize("pauses", [True, False])
def test_all_pieces_are_written_in_order_on_any_version(monkeypatch, pauses):
    written = []

    class Transport:
        def write(self, data):
            written.append(data)

        def writelines(self, pieces):
            written.extend(pieces)

    monkeypatch.setattr(gather, "_PAUSES", pauses)
    write_pieces(Transport(), [b"a", b"b"])
    assert written == ([b"a", b"b"] if pauses else [b"ab"])


def test_the_versions_whose_writelines_does_not_pause():
    bad = [(3, 12, 0), (3, 12, 8), (3, 13, 0), (3, 13, 1)]
    good = [(3, 11, 7), (3, 12, 9), (3, 13, 2), (3, 14, 0)]
    assert [writelines_pauses(version) for version in bad] == [False] * 4
    assert [writelines_pauses(version) for version in good] == [True] * 4


def test_nothing_else_calls_writelines_but_of_files():
    root = pathlib.Path(rolo.__file__).parent
    call = re.compile(r"(?<!_file)\.writelines\(")
    callers = [p.name for p in root.rglob("*.py") if call.search(p.read_text())]
    assert callers == ["gather.py"]
