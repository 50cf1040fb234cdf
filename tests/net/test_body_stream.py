"""A body piped from one side to the other: order, pace, and whose error it is."""

import asyncio
import mmap
import socket

import pytest

from rolo.net import unacknowledged as unacknowledged_module
from rolo.net import unread
from rolo.net.body import Upload, body_of
from rolo.net.body_stream import PIECE, BodyStream, SeenSink
from rolo.net.read_buffer import read_buffer


class Body(BodyStream):
    """One side's body, filled by hand."""

    ended = False
    error = None
    emptied = starved = 0

    def _at_end(self):
        if self.error is not None:
            raise self.error
        return self.ended

    def _emptied(self):
        self.emptied += 1

    def _starving(self):
        self.starved += 1

    def put(self, *pieces):
        self._put(list(pieces))

    def end(self, error=None):
        self.ended, self.error = True, error
        self._wake()

    pipe = BodyStream._pipe
    receive_body = BodyStream._read


class Sink:
    """Takes pieces, until ``full_after`` of them wait to be drained."""

    def __init__(self, full_after=None, error=None):
        self.pieces = []
        self.full_after = full_after
        self.error = error
        self.room = asyncio.Event()
        self.waits = 0

    def write(self, piece):
        if self.error is not None:
            raise self.error
        self.pieces.append(piece)
        return self.full_after is None or len(self.pieces) < self.full_after

    async def drained(self):
        self.waits += 1
        await self.room.wait()
        self.full_after = None


def large(letter):
    """A piece that is not worth a copy."""
    return letter * 16 * 1024


async def turn():
    for _ in range(3):
        await asyncio.sleep(0)


def test_pieces_are_handed_on_in_the_call_that_brings_them():
    async def main():
        body, sink = Body(), Sink()
        body.put(b"before")
        piping = asyncio.create_task(body.pipe(sink))
        await turn()
        assert sink.pieces == [b"before"]
        assert body.piping
        assert body.waiting
        body.put(large(b"1"), large(b"2"))
        assert sink.pieces == [b"before", large(b"1"), large(b"2")]
        assert body.buffered == 0
        body.end()
        await piping
        assert not body.piping

    asyncio.run(main())


def test_a_full_sink_stops_the_reading_and_keeps_the_rest_in_order():
    async def main():
        body, sink = Body(), Sink(full_after=1)
        piping = asyncio.create_task(body.pipe(sink))
        await turn()
        emptied = body.emptied
        body.put(large(b"1"), large(b"2"), large(b"3"))
        assert sink.pieces == [large(b"1")]
        assert body.full(1_000_000)
        await turn()
        body.put(b"4")
        assert body.full(1_000_000)
        assert (sink.waits, body.emptied) == (1, emptied)
        sink.room.set()
        await turn()
        assert b"".join(sink.pieces) == large(b"1") + large(b"2") + large(b"3") + b"4"
        assert not body.full(0)
        assert body.emptied == emptied + 1
        body.put(b"5")
        assert sink.pieces[-1] == b"5"
        body.end()
        await piping

    asyncio.run(main())


def test_what_waits_may_fill_the_sink_too():
    async def main():
        body, sink = Body(), Sink(full_after=1)
        body.put(b"1")
        piping = asyncio.create_task(body.pipe(sink))
        await turn()
        assert body.full(1_000_000)
        sink.room.set()
        body.end()
        await piping
        assert sink.pieces == [b"1"]

    asyncio.run(main())


def test_an_error_of_the_sink_is_raised_where_the_body_is_piped():
    async def main():
        body, sink = Body(), Sink(error=ValueError("left"))
        piping = asyncio.create_task(body.pipe(sink))
        await turn()
        body.put(large(b"1"), large(b"2"))  # whoever reads the socket is not to blame
        assert body.full(1_000_000)
        with pytest.raises(ValueError, match="left"):
            await piping

    asyncio.run(main())


def test_what_came_before_a_failure_is_delivered_before_it():
    async def main():
        body, sink = Body(), Sink(full_after=1)
        piping = asyncio.create_task(body.pipe(sink))
        await turn()
        body.put(large(b"1"), large(b"2"))
        body.end(ValueError("broken"))
        await turn()
        sink.room.set()
        with pytest.raises(ValueError, match="broken"):
            await piping
        assert sink.pieces == [large(b"1"), large(b"2")]

    asyncio.run(main())


def test_small_pieces_that_come_together_are_handed_on_together():
    async def main():
        body, sink = Body(), Sink()
        body.put(*[b"x"] * 1000)
        assert await body.receive_body() == b"x" * 1000
        piping = asyncio.create_task(body.pipe(sink))
        await turn()
        body.put(*[b"y"] * 1000)
        body.put(b"z")  # later is later, however small
        assert sink.pieces == [b"y" * 1000, b"z"]
        body.end()
        await piping

    asyncio.run(main())


def test_a_cancelled_pipe_leaves_the_body_to_others():
    async def main():
        body, sink = Body(), Sink()
        piping = asyncio.create_task(body.pipe(sink))
        await turn()
        piping.cancel()
        await asyncio.wait((piping,))
        body.put(b"later")
        assert sink.pieces == []
        assert not body.full(100)
        assert await body.receive_body() == b"later"

    asyncio.run(main())


def test_a_pipe_cancelled_at_a_full_sink_holds_up_nobody():
    async def main():
        body, sink = Body(), Sink(full_after=1)
        piping = asyncio.create_task(body.pipe(sink))
        await turn()
        body.put(b"1")
        await turn()
        assert body.full(100)
        piping.cancel()
        await asyncio.wait((piping,))
        assert not body.full(100)

    asyncio.run(main())


def test_only_one_reads():
    async def main():
        body = Body()
        piping = asyncio.create_task(body.pipe(Sink()))
        await turn()
        with pytest.raises(RuntimeError, match="someone else"):
            await body.receive_body()
        body.end()
        await piping

    asyncio.run(main())


def test_a_reader_gets_pieces_of_bounded_size():
    async def main():
        body = Body()
        body.put(*[bytes(PIECE // 2)] * 5)
        sizes = [len(await body.receive_body()) for _ in range(3)]
        assert sizes == [PIECE, PIECE, PIECE // 2]
        assert body.emptied == 1
        body.end()
        assert await body.receive_body() == b""

    asyncio.run(main())


class Reads(Upload):
    """A body that can only be read."""

    def __init__(self):
        self.left = [b"1", b"2"]

    async def receive_body(self):
        return self.left.pop(0) if self.left else b""


async def pulls():
    """A body that can only be pulled."""
    yield b"1"
    yield b""
    yield b"2"


@pytest.mark.parametrize("make", [Reads, lambda: body_of(pulls())], ids=["read", "pulled"])
def test_what_cannot_do_more_is_piped_at_the_same_pace(make):
    async def main():
        sink = Sink(full_after=1)
        piping = asyncio.create_task(make().pipe(sink))
        await turn()
        assert sink.pieces == [b"1"]
        sink.room.set()
        await piping
        assert sink.pieces == [b"1", b"2"]

    asyncio.run(main())


def test_what_a_user_gives_is_a_body_and_closed_if_it_can_be():
    def given():
        try:
            yield b"1"
        finally:
            closed.append(True)

    closed = []
    body = body_of(given())
    assert body_of(body) is body
    assert next(iter(body)) == b"1"
    assert (body.read_whole_nowait(), body.trailers) == (None, [])
    body.close()
    assert closed == [True]
    body_of([b"cannot be closed"]).close()


def test_a_read_buffer_has_the_size_asked_for():
    buffer = read_buffer(100_000)
    buffer[:4] = b"head"
    buffer[-4:] = b"tail"
    assert len(buffer) == 100_000
    assert bytes(buffer[:5]) == b"head\0"


def test_a_sink_that_is_full_is_waited_for_though_nothing_is_left_for_it():
    async def test():
        body, sink = Body(), Sink(full_after=1)
        piping = asyncio.create_task(body.pipe(sink))
        await asyncio.sleep(0)
        body.put(b"a")
        await asyncio.sleep(0)
        assert (sink.waits, body.full(100)) == (1, True)
        sink.room.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not body.full(100)
        body.end()
        await asyncio.wait_for(piping, 5)
        assert sink.pieces == [b"a"]

    asyncio.run(test())


def test_what_is_shown_on_its_way_is_shown_first_and_goes_at_the_same_pace():
    seen = []

    class Ordered(Sink):
        def write(self, piece):
            assert seen[-1] == piece
            return super().write(piece)

    async def test():
        sink = Ordered(full_after=2)
        shown = SeenSink(sink, seen.append)
        assert [shown.write(b"a"), shown.write(b"b")] == [True, False]
        sink.room.set()
        await shown.drained()
        assert (sink.pieces, sink.waits) == ([b"a", b"b"], 1)

    asyncio.run(test())


def test_a_read_buffer_is_not_shared_with_children(monkeypatch):
    made = []
    monkeypatch.setattr(
        mmap, "mmap", lambda *args, **options: made.append((args, options)) or bytearray(args[1])
    )
    assert len(read_buffer(100)) == 100
    (args, options) = made[0]
    assert args[0] == -1
    assert options["flags"] & mmap.MAP_PRIVATE
    monkeypatch.delattr(mmap, "MAP_PRIVATE")  # as on Windows
    assert len(read_buffer(100)) == 100
    assert made[1] == (args, {})


# --- what the kernel says ---------------------------------------------------------------


class Known:
    """A transport of which this much is known."""

    def __init__(self, sock=None):
        self.sock = sock

    def get_write_buffer_size(self):
        return 5

    def get_extra_info(self, name):
        return self.sock if name == "socket" else None


def test_what_was_not_taken_is_what_waits_here_and_in_the_kernel(monkeypatch):
    assert unacknowledged_module.unacknowledged(Known()) == 5
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert unacknowledged_module.unacknowledged(Known(ours)) == 5
        ours.send(b"x" * 1000)
        assert unacknowledged_module.unacknowledged(Known(ours)) > 1000
        monkeypatch.setattr(unacknowledged_module, "_OUTQ", None)  # as on Windows
        assert unacknowledged_module.unacknowledged(Known(ours)) == 5
    monkeypatch.undo()
    assert unacknowledged_module.unacknowledged(Known(ours)) == 5  # it is closed


def test_what_was_not_read_yet_is_seen(monkeypatch):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not unread.has_unread(ours.fileno())
        theirs.send(b"x")
        assert unread.has_unread(ours.fileno())
        ours.recv(1)
        theirs.close()
        assert not unread.has_unread(ours.fileno())
        monkeypatch.setattr(unread, "_INQ", None)
        assert not unread.has_unread(ours.fileno())
    monkeypatch.undo()
    assert not unread.has_unread(-1)
