"""The loop's transport against an origin in memory: each time and bound exactly where it is."""

import asyncio

import pytest
from memory_origin import OK, ORIGIN, turns, with_origin
from wire import chunked

from rolo.errors import (
    BadRequest,
    BadResponse,
    BodyInterrupted,
    ConnectError,
    ConnectTimeout,
    ExchangeTimeout,
    IdleTimeout,
    RequestTimeout,
    ResponseHeadTimeout,
    SendError,
    UnsendableRequest,
    UpstreamClosed,
)
from rolo.net.body import Upload
from rolo.upstream.connection import Connection
from rolo.upstream.request import MAX_INTERIMS, UpstreamRequest

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"


class Source(Upload):
    """A request body that is given piece by piece, when :meth:`give` says so."""

    def __init__(self):
        self.pieces = asyncio.Queue()
        self.give = self.pieces.put_nowait

    async def receive_body(self):
        return await self.pieces.get()


def error_of(task):
    assert task.done(), "it still waits"
    return task.exception()


# --- time -------------------------------------------------------------------------------


@with_origin(timeouts={"response": 10.0})
async def test_the_answer_has_its_time_from_the_end_of_the_request(world):
    task = await world.sending()
    await world.passes(9.75)
    assert not task.done()
    await world.passes(0.25)
    error = error_of(task)
    assert type(error) is ResponseHeadTimeout
    assert str(error).startswith("no answer within 10 s")
    assert error.target == str(ORIGIN)
    assert error.retry_safe
    assert world.origin.done == ["abort"]


@with_origin(timeouts={"response": 10.0, "idle": 4.0})
async def test_a_shorter_idle_time_says_nothing_about_the_answer(world):
    task = await world.sending()
    await world.passes(4)
    await world.passes(4)
    await world.passes(1.75)
    assert not task.done()
    await world.passes(0.25)
    assert type(error_of(task)) is ResponseHeadTimeout


@with_origin(timeouts={"response": 10.0})
async def test_interim_heads_and_parts_of_a_head_give_it_no_more_time(world):
    task = await world.sending(method="GET")
    await world.passes(9)
    world.origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 2")
    await world.passes(1)
    error = error_of(task)
    assert type(error) is ResponseHeadTimeout
    assert not error.retry_safe


@with_origin(timeouts={"response": 10.0, "idle": 6.0})
async def test_while_the_request_is_sent_only_its_pieces_count(world):
    source = Source()
    task = await world.sending(source)
    for _ in range(5):
        await world.passes(5.5)
        source.give(b"x")
        await turns()
    source.give(b"")
    await turns()
    await world.passes(9.75)
    assert not task.done()
    await world.passes(0.25)
    assert type(error_of(task)) is ResponseHeadTimeout


@with_origin(timeouts={"idle": 6.0})
async def test_a_client_that_stalls_within_its_body_is_named_as_the_one(world):
    source = Source()
    task = await world.sending(source)
    source.give(b"x")
    await turns()
    await world.passes(5.75)
    assert not task.done()
    await world.passes(0.25)
    error = error_of(task)
    assert (type(error), str(error)) == (RequestTimeout, "no byte of the request came for 6 s")


def test_an_origin_that_takes_nothing_is_named_as_the_one(monkeypatch):
    taken = iter([9, 9, 7, 7, 7])
    monkeypatch.setattr(Connection, "unacknowledged", property(lambda self: next(taken)))

    @with_origin(timeouts={"idle": 6.0})
    async def test(world):
        task = await world.sending(b"x" * 100_000)
        world.origin.connection.pause_writing()
        await world.passes(6)  # it has taken nothing yet, but since when?
        error = error_of(task)
        assert type(error) is IdleTimeout
        assert str(error).startswith("the origin took no byte for 6 s")
        assert error.phase == "request body"

    test()


def test_an_origin_that_takes_little_is_not_cut(monkeypatch):
    left = [9, 8, 7, 6, 6]
    monkeypatch.setattr(Connection, "unacknowledged", property(lambda self: left.pop(0)))

    @with_origin(timeouts={"idle": 6.0})
    async def test(world):
        task = await world.sending(b"x" * 100_000)
        world.origin.connection.pause_writing()
        for _ in range(3):
            await world.passes(6)
            assert not task.done()
        await world.passes(6)
        assert type(error_of(task)) is IdleTimeout

    test()


@with_origin(timeouts={"response": 10.0, "idle": 8.0})
async def test_an_origin_that_was_slow_to_take_the_request_has_its_time_from_then_on(world):
    task = await world.sending(b"x" * 1000)
    world.origin.connection.pause_writing()
    await world.passes(7)
    world.origin.connection.resume_writing()
    await world.passes(9.75)
    assert not task.done()
    await world.passes(0.25)
    assert type(error_of(task)) is ResponseHeadTimeout


@with_origin(timeouts={"idle": 6.0})
async def test_a_body_that_stalls_is_cut_when_its_reader_has_waited_that_long(world):
    response = await world.answered(HEAD + b"half")
    await world.passes(100)  # the reader is busy elsewhere
    assert await response.body.read() == b"half"
    reading = asyncio.create_task(response.body.read())
    world.tasks.append(reading)
    await turns()
    await world.passes(5.75)
    world.origin.send(b".")
    assert await reading == b"."
    reading = asyncio.create_task(response.body.read())
    world.tasks.append(reading)
    await turns()
    await world.passes(5.75)
    assert not reading.done()
    await world.passes(0.25)
    error = error_of(reading)
    assert (type(error), error.phase) == (IdleTimeout, "response body")
    assert str(error).startswith("no byte came for 6 s")
    response.body.close()


@with_origin(timeouts={"connect": 10.0})
async def test_connecting_has_its_time(world):
    world.reachable.clear()
    task = await world.sending()
    await world.passes(9.75)
    assert not task.done()
    await world.passes(0.25)
    error = error_of(task)
    assert type(error) is ConnectTimeout
    assert str(error).startswith("no connection within 10 s")
    assert error.target == str(ORIGIN)


@pytest.mark.parametrize("connect", [None, 9.0])
def test_all_together_have_their_time_connecting_included(connect):
    @with_origin(timeouts={"total": 8.0, "connect": connect})
    async def test(world):
        world.reachable.clear()
        task = await world.sending()
        await world.passes(7.75)
        assert not task.done()
        await world.passes(0.25)
        error = error_of(task)
        assert type(error) is ExchangeTimeout
        assert str(error).startswith("not over within 8 s: still connecting")
        assert (error.retry_safe, error.target) == (True, str(ORIGIN))
        # And behind that what is left of it.
        task = await world.sending()
        await world.passes(5)
        world.reachable.set()
        await turns()
        await world.passes(2.75)
        assert not task.done()
        await world.passes(0.25)
        assert type(error_of(task)) is ExchangeTimeout
        assert str(error_of(task)).startswith("not over within 8 s")

    test()


@with_origin(timeouts={"total": 8.0})
async def test_who_is_slow_to_pass_interim_answers_on_is_cut_by_the_time_of_the_whole(world):
    async def slow(status, headers):
        await asyncio.get_running_loop().create_future()

    task = await world.sending(on_interim=slow)
    world.origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + HEAD)
    await world.passes(7.75)
    assert not task.done()
    await world.passes(0.25)
    assert type(error_of(task)) is ExchangeTimeout
    assert world.origin.done == ["abort"]


@with_origin()
async def test_a_timeout_of_who_is_told_of_interim_answers_is_theirs(world):
    async def fails(status, headers):
        raise TimeoutError("theirs")

    task = await world.sending(on_interim=fails)
    world.origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    await turns()
    assert (type(error_of(task)), str(error_of(task))) == (TimeoutError, "theirs")


@with_origin(timeouts={"response": 10.0})
async def test_a_body_waits_a_second_for_100_and_no_longer(world):
    task = await world.sending(b"hello", expect_continue=True)
    assert world.origin.received.endswith(b"\r\nExpect: 100-continue\r\n\r\n")
    await world.passes(0.75)
    assert not world.origin.received.endswith(b"hello")
    await world.passes(0.25)
    assert world.origin.received.endswith(b"hello")
    world.origin.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK)
    await turns()
    assert task.result().status == 200


# --- bounds -----------------------------------------------------------------------------


@with_origin(limits={"max_head": 100})
async def test_a_head_without_an_end_may_be_as_long_as_allowed(world):
    task = await world.sending()
    world.origin.send(b"HTTP/1.1 200 OK\r\nX: ".ljust(100, b"a"))
    await turns()
    assert not task.done()
    world.origin.send(b"a")
    await turns()
    error = error_of(task)
    assert type(error) is BadResponse
    assert str(error).startswith("response head of more than 100 bytes")


@with_origin(limits={"max_fields": 3})
async def test_an_answer_may_have_as_many_fields_as_allowed(world):
    for fields, allowed in [(b"A: 1\r\n" * 2, True), (b"A: 1\r\n" * 3, False)]:
        task = await world.sending()
        world.origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + fields + b"\r\n")
        await turns()
        assert (type(task.exception()) is BadResponse) == (not allowed)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"H", None),
        (b"HTTP/", None),
        (b"HTTX/", "the answer is not HTTP/1"),
        (b"\x15\x03\x01", "the answer is not HTTP/1"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101 (Switching Protocols) that nobody"),
    ],
    ids=repr,
)
def test_what_cannot_become_an_answer_is_told_from_its_first_bytes(start, said):
    @with_origin()
    async def test(world):
        task = await world.sending()
        world.origin.send(start)
        await turns()
        if said is None:
            assert not task.done()
        else:
            assert type(error_of(task)) is BadResponse
            assert said in str(error_of(task))

    test()


def test_as_many_interim_answers_as_allowed_and_not_one_more():
    async def told(status, headers):
        seen.append(status)

    @with_origin()
    async def test(world):
        hint = b"HTTP/1.1 103 Early Hints\r\n\r\n"
        task = await world.sending(on_interim=told)
        world.origin.send(hint * MAX_INTERIMS + OK)
        await turns()
        assert (task.result().status, seen) == (200, [103] * MAX_INTERIMS)
        task = await world.sending()
        for _ in range(MAX_INTERIMS):
            world.origin.send(hint)
        await turns()
        assert not task.done()
        world.origin.send(hint)
        await turns()
        assert type(error_of(task)) is BadResponse
        assert str(error_of(task)).startswith("too many interim answers")

    seen = []
    test()


@pytest.mark.parametrize("size", [65_536, 65_537, 200_000])
def test_a_body_in_memory_goes_out_with_its_head_or_in_slices(size):
    @with_origin()
    async def test(world):
        task = await world.sending(bytes(size))
        head = world.origin.received.index(b"\r\n\r\n") + 4
        first, *slices = world.origin.writes
        if size <= 65_536:
            assert (first, slices) == (head + size, [])
        else:
            assert first == head
            assert max(slices) == 65_536
            assert sum(slices) == size
        world.origin.send(OK)
        await turns()
        assert task.result().status == 200

    test()


@with_origin()
async def test_a_body_in_memory_waits_for_an_origin_that_is_slow(world):
    await world.sending(bytes(65_536))  # so that there is a connection
    world.origin.send(OK)
    await turns()
    world.tasks[-1].result().body.close()
    origin = world.origin
    origin.connection.writing_paused = True
    await world.sending(bytes(200_000))
    assert origin.writes[-1] == 65_536
    before = len(origin.writes)
    await turns()
    assert len(origin.writes) == before
    origin.connection.resume_writing()
    await turns()
    assert sum(origin.writes[before:]) == 200_000 - 65_536


@with_origin(limits={"max_buffer": 1000})
async def test_a_body_that_nobody_reads_stops_the_reading_until_it_is_taken(world):
    response = await world.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    room = world.transport._settings.room
    assert room + len(world.origin.connection.get_buffer(-1)) == 1000 + 64 * 1024
    world.origin.send(bytes(room))
    assert world.origin.reading
    world.origin.send(b"x")
    assert not world.origin.reading
    while response.body.buffered:
        await response.body.read()
    assert world.origin.reading
    response.body.close()


def test_a_request_body_may_not_be_longer_or_shorter_than_declared():
    @with_origin()
    async def test(world):
        for pieces, said in [
            ([b"ab", b"cd"], "longer"),
            ([b"ab", b""], "shorter"),
            ([b"ab", b"c", b""], None),
        ]:
            source = Source()
            task = await world.sending(source, length=3)
            for piece in pieces:
                source.give(piece)
            await turns()
            if said is None:
                assert not task.done()
                assert world.origin.received.endswith(b"\r\n\r\nabc")
            else:
                assert (type(error_of(task)), said in str(error_of(task))) == (BadRequest, True)

    test()


# --- what becomes of the connection -----------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (OK, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ok"), True),
        (OK + b"x", False),
        (b"HTTP/1.1 204 No Content\r\n\r\nx", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"ok") + b"x", False),
        (OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), False),
        (OK.replace(b"1.1", b"1.0"), False),
        (OK.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"), True),
    ],
    ids=repr,
)  # fmt: skip
def test_a_connection_is_kept_if_nothing_speaks_against_it(answer, kept):
    @with_origin()
    async def test(world):
        response = await world.answered(answer)
        assert response.body.read_whole_nowait() in (b"ok", b"")
        await turns()  # nobody has closed the body
        assert world.origin.done == ([] if kept else ["abort"])
        response.body.close()
        task = await world.sending()
        world.origin.send(OK)
        await turns()
        assert task.result().reused == kept
        assert len(world.connections) == (1 if kept else 2)

    test()


@with_origin()
async def test_a_connection_whose_expectation_was_refused_is_closed_at_once(world):
    source = Source()
    task = await world.sending(source, expect_continue=True, length=5)
    world.origin.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
    await turns()
    assert task.result().body.read_whole_nowait() == b"no"
    assert world.origin.done == ["abort"]
    assert source.pieces.empty()


@with_origin()
async def test_an_answer_that_is_over_first_sees_the_request_through_and_then_closes(world):
    source = Source()
    source.give(b"one")
    task = await world.sending(source)
    world.origin.send(OK)
    await turns()
    response = task.result()
    assert response.body.read_whole_nowait() == b"ok"
    source.give(b"two")
    await turns()
    assert world.origin.done == []
    source.give(b"")
    await turns()
    assert world.origin.received.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert world.origin.done[0] == "close"
    response.body.close()


@with_origin()
async def test_bytes_behind_an_answer_whose_request_is_still_sent_end_the_connection(world):
    source = Source()
    task = await world.sending(source)
    world.origin.send(OK)
    await turns()
    world.origin.send(b"x")
    await turns()
    assert world.origin.done == ["abort"]
    task.result().body.close()


@with_origin()
async def test_an_answer_left_unread_ends_the_connection(world):
    response = await world.answered(HEAD + b"half")
    response.body.close()
    response.body.close()
    assert world.origin.done == ["abort"]


@with_origin()
async def test_what_comes_on_an_idle_connection_ends_it(world):
    (await world.answered()).body.close()
    world.origin.send(OK)
    assert world.origin.done == ["abort"]
    await turns()
    assert world.transport.stats() == {}


# --- how it ends badly ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "kind", "said", "retry_safe"),
    [
        (b"", UpstreamClosed, "without an answer", True),
        (b"H", UpstreamClosed, "within the response head", False),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", UpstreamClosed, "within the response head", False),
    ],
)
@pytest.mark.parametrize("breaks", [False, True], ids=["ends", "breaks"])
def test_a_connection_that_ends_before_a_whole_head_is_no_answer(
    sent, kind, said, retry_safe, breaks
):
    @with_origin()
    async def test(world):
        task = await world.sending()
        world.origin.send(sent)
        if breaks:
            world.origin.breaks(ConnectionResetError("reset"))
        else:
            world.origin.ends()
        await turns()
        error = error_of(task)
        assert (type(error), error.retry_safe) == (kind, retry_safe)
        assert said in str(error)
        assert isinstance(error.__cause__, ConnectionResetError) == breaks

    test()


@with_origin()
async def test_a_connection_that_ends_while_the_request_is_sent_says_so(world):
    source = Source()
    source.give(b"one")
    task = await world.sending(source)
    world.origin.ends()
    await turns()
    error = error_of(task)
    assert type(error) is SendError
    assert "while the request was sent" in str(error)
    assert not error.retry_safe


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (HEAD + b"half", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", None),
        (b"HTTP/1.1 200 OK\r\n\r\nhalf", b"half"),
    ],
)
def test_an_answer_that_ends_early_breaks_off_after_what_came(answer, whole):
    @with_origin()
    async def test(world):
        response = await world.answered(answer)
        world.origin.ends()
        assert await response.body.read() == b"half"
        assert response.body.complete == (whole is not None)
        if whole is not None:
            assert await response.body.read() == b""
        else:
            with pytest.raises(BodyInterrupted) as caught:
                await response.body.read()
            assert caught.value.target == str(ORIGIN)
        response.body.close()

    test()


@pytest.mark.parametrize("answer", [HEAD + b"half", b"HTTP/1.1 200 OK\r\n\r\nhalf"])
def test_a_reset_is_never_a_clean_end(answer):
    @with_origin()
    async def test(world):
        response = await world.answered(answer)
        world.origin.breaks(ConnectionResetError("reset"))
        assert await response.body.read() == b"half"
        with pytest.raises(BodyInterrupted):
            await response.body.read()
        response.body.close()

    test()


# --- once more --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "sent", "again"),
    [
        ({}, b"", True),
        ({"method": "POST"}, b"", False),
        ({"body": b"x", "method": "PUT"}, b"", True),
        ({}, b"H", False),
    ],
    ids=["GET", "POST", "PUT", "a byte has come"],
)
def test_a_connection_that_was_idle_and_has_ended_is_replaced_once(request_, sent, again):
    @with_origin()
    async def test(world):
        (await world.answered()).body.close()
        task = await world.sending(**request_)
        assert len(world.connections) == 1
        world.origin.send(sent)
        world.origin.ends()
        await turns()
        assert len(world.connections) == (2 if again else 1)
        if not again:
            assert type(error_of(task)) is UpstreamClosed
            return
        world.origin.send(OK)
        await turns()
        response = task.result()
        assert (response.reused, bool(response.retried)) == (False, True)
        response.body.close()

    test()


@with_origin()
async def test_neither_a_second_end_nor_that_of_a_new_connection_is_tried_again(world):
    task = await world.sending()
    world.origin.ends()
    await turns()
    assert type(error_of(task)) is UpstreamClosed
    (await world.answered()).body.close()
    task = await world.sending()
    world.origin.ends()
    await turns()
    world.origin.ends()
    await turns()
    assert type(error_of(task)) is UpstreamClosed
    assert len(world.connections) == 3


@with_origin()
async def test_the_second_attempt_waits_for_no_other_connection_that_was_idle(world):
    """They may have ended with it."""
    tasks = [await world.sending() for _ in range(2)]
    for origin in world.connections:
        origin.send(OK)
    await turns()
    for task in tasks:
        task.result().body.close()
    await world.sending()
    world.connections[1].ends()
    await turns()
    assert len(world.connections) == 3


# --- what cannot be sent ----------------------------------------------------------------


@with_origin()
async def test_what_only_we_write_is_refused_by_name_and_target(world):
    request = UpstreamRequest(ORIGIN, "GET", b"/", [(b"Content-Length", b"1")])
    with pytest.raises(UnsendableRequest) as caught:
        await world.transport.send(request)
    assert caught.value.target == str(ORIGIN)
    assert world.connections == []


@with_origin()
async def test_an_origin_that_refuses_is_told_as_it_is(world):
    world.refuses = ConnectError("refused", target="x")
    task = await world.sending()
    assert error_of(task) is world.refuses
    assert world.transport.stats() == {}
