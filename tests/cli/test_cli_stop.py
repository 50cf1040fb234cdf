"""Waiting for the signal to stop."""

import contextlib
import os
import signal

import pytest

from rolo.cli.stop import StopNow, StopSignals


@pytest.fixture
def parent():
    """A pipe to a parent process: ``(read end, what ends the parent)``."""
    reader, writer = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, reader)
        closing = stack.enter_context(contextlib.ExitStack())
        closing.callback(os.close, writer)
        yield reader, closing.close


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_wait_and_the_second_everything(number):
    with StopSignals() as signals:
        assert not signals.wait(0)
        assert not signals.received
        signal.raise_signal(number)
        assert signals.wait()
        assert signals.wait(0)  # whoever asks again
        assert signals.received
        with pytest.raises(StopNow):
            signal.raise_signal(number)


def test_a_parent_that_is_gone_is_the_second_signal(parent):
    reader, ends = parent
    with StopSignals(reader) as signals:
        assert not signals.wait(0)
        signal.raise_signal(signal.SIGTERM)
        assert signals.wait(0)
        ends()
        with pytest.raises(StopNow):
            signals.wait()


def test_former_handlers_are_put_back_and_nothing_stays_open():
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with StopSignals() as signals:
        within = [signal.getsignal(number) for number in numbers]
        assert not set(within) & set(before)
    assert [signal.getsignal(number) for number in numbers] == before
    for fd in (signals._reader, signals._writer):
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)


def test_a_hangup_is_ignored_and_told_once(caplog):
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGHUP)
        assert caplog.messages == []  # a handler must not write
        assert not signals.wait(0)
        assert not signals.wait(0)
    assert caplog.messages == ["SIGHUP is ignored"]
