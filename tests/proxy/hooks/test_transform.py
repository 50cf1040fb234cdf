"""Functions over bodies, without sockets."""

import pytest

from rolo.errors import BodyInterrupted, HookError
from rolo.proxy.hooks.bodies import pipeline
from rolo.proxy.hooks.sse import Event
from rolo.proxy.hooks.transform import chunk_stage, event_stage, line_stage
from rolo.wire import charsets


def through(stage, *pieces):
    return list(stage(pieces))


def test_a_function_over_chunks_may_change_keep_drop_and_multiply():
    def function(chunk):
        return {b"keep": None, b"drop": [], b"empty": b"", b"two": [b"1", b"2"]}.get(chunk, b"new")

    pieces = through(chunk_stage(function), b"keep", b"drop", b"empty", b"two", b"x")
    assert pieces == [b"keep", b"", b"1", b"2", b"new"]


def test_a_generator_over_chunks_sees_the_end():
    def function(chunks):
        yield b"<"
        yield from chunks
        yield b">"

    assert through(chunk_stage(function), b"a", b"b") == [b"<", b"a", b"b", b">"]


def test_lines_are_whole_whatever_the_pieces():
    seen = []
    stage = line_stage(lambda line: seen.append(line))
    assert b"".join(through(stage, b"on", b"e\ntwo\r\nth", b"ree")) == b"one\ntwo\r\nthree"
    assert seen == ["one\n", "two\r\n", "three"]


@pytest.mark.parametrize("charset", ["utf-8", "latin1", "utf-16le"])
def test_lines_in_other_charsets_split_within_a_character(charset):
    text = "über\ngrün\n"
    data = text.encode(charset)
    pieces = [data[i : i + 1] for i in range(len(data))]
    out = b"".join(through(line_stage(str.upper, charset), *pieces))
    assert out.decode(charset) == text.upper()


def test_bytes_that_are_no_text_pass_unharmed():
    assert (
        b"".join(through(line_stage(lambda line: line), b"a\xff\xfeb\n\x80")) == b"a\xff\xfeb\n\x80"
    )


def test_an_endless_line_comes_in_parts(monkeypatch):
    monkeypatch.setattr(charsets, "MAX_LINE", 10)
    seen = []
    through(line_stage(lambda line: seen.append(line)), b"x" * 8, b"x" * 8, b"y\n")
    assert seen == ["x" * 16, "y\n"]


def test_an_event_comes_back_byte_for_byte_unless_changed():
    def function(event):
        if event.data == "b":
            event.data = "B"
        return event

    raw = (b"data:a\r\n\r\n", b":c\n\n", b"data:b\n\n")
    assert through(event_stage(function), *raw) == [b"data:a\r\n\r\n", b":c\n\n", b"data: B\n\n"]


def test_a_generator_over_events_puts_in_what_it_likes():
    def function(events):
        yield Event("begin")
        for event in events:
            yield event
            yield event
        yield Event("end")

    out = b"".join(through(event_stage(function), b":x\n\ndata:a\n\n", b":y\n\n"))
    assert out == b"data: begin\n\n:x\n\ndata:a\n\ndata:a\n\n:y\n\ndata: end\n\n"


@pytest.mark.parametrize("kind", ["function", "generator"])
def test_errors_carry_the_hooks_name_and_are_logged(kind, caplog):
    def function(chunk):
        raise ZeroDivisionError

    def generator(chunks):
        yield 1 / 0

    with pytest.raises(HookError) as caught:
        through(chunk_stage(function if kind == "function" else generator), b"x")
    assert kind in caught.value.phase
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert kind in caplog.text


def test_errors_of_the_source_pass_through_a_generator():
    def broken():
        yield b"part"
        raise BodyInterrupted("the origin left")

    def generator(chunks):
        yield from chunks

    with pytest.raises(BodyInterrupted):
        list(chunk_stage(generator)(broken()))


def test_a_pipeline_closes_every_generator_from_the_readers_end():
    closed = []

    def named(name):
        def generator(chunks):
            try:
                yield from chunks
            finally:
                closed.append(name)

        return chunk_stage(generator)

    chain = pipeline([b"a", b"b"], ["gzip"], [named("inner"), named("outer")])
    with pytest.raises(Exception, match="gzip"):
        next(iter(chain))
    chain.close()
    assert sorted(closed) == ["inner", "outer"]


def test_a_small_body_is_taken_whole_and_a_large_one_is_not_lost():
    small = pipeline([b"a", b"b"], [], [chunk_stage(bytes.upper)])
    assert small.take_whole() == b"AB"
    large = pipeline([b"x" * 100_000] * 3, [], [chunk_stage(bytes.upper)])
    assert large.take_whole() is None
    assert b"".join(large) == b"X" * 300_000


def gives_text(chunk):
    return "text"


def gives_texts(chunk):
    return ["text"]


def yields_text(chunks):
    yield "text"


@pytest.mark.parametrize("function", [gives_text, gives_texts, yields_text])
def test_text_in_the_place_of_bytes_is_named(function):
    with pytest.raises(HookError) as raised:
        through(chunk_stage(function), b"x")
    assert function.__name__ in str(raised.value)
    assert str(raised.value.__cause__) == "pieces of a body are bytes, not str: 'text'"
