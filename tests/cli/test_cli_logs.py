"""Where log lines go while a command runs."""

import logging
import sys

import pytest

from rolo.cli.logs import logging_to_the_terminal
from rolo.config.tree import LogConfig

ROLO, ACCESS = logging.getLogger("rolo"), logging.getLogger("rolo.access")


def say():
    logging.getLogger("rolo.x").debug("a detail")
    logging.getLogger("rolo.x").warning("a warning")
    logging.getLogger("rolo.x").error("an error")
    ACCESS.info("an exchange")


@pytest.mark.parametrize(
    ("settings", "out", "err"),
    [
        ({}, ["an exchange"], ["a warning", "an error"]),
        ({"quiet": True}, [], ["an error"]),
        ({"quiet": True, "access": True}, ["an exchange"], ["an error"]),
        ({"access": False}, [], ["a warning", "an error"]),
        ({"verbose": True}, ["an exchange"], ["a detail", "a warning", "an error"]),
    ],
    ids=repr,
)
def test_what_is_said_goes_to_one_of_the_two_streams(capsys, settings, out, err):
    before = ROLO.level, ACCESS.level, ROLO.handlers[:], ACCESS.handlers[:], ACCESS.propagate
    with logging_to_the_terminal(LogConfig(**settings)):
        say()
    after = ROLO.level, ACCESS.level, ROLO.handlers[:], ACCESS.handlers[:], ACCESS.propagate
    assert after == before
    say()
    said = capsys.readouterr()
    assert said.out.splitlines() == out
    assert [line.partition(" rolo.x: ")[2] for line in said.err.splitlines()] == err


def test_lines_of_the_log_tell_when_and_how_bad_and_a_traceback_is_set_in(capsys):
    with logging_to_the_terminal(LogConfig()):
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            logging.getLogger("rolo.x").exception("failed")
    first, *others = capsys.readouterr().err.splitlines()
    assert first.endswith(" ERROR rolo.x: failed")
    assert first[:4].isdigit()
    assert others[0] == "Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in others[1:])
    assert sys.stderr not in [getattr(each, "stream", None) for each in ROLO.handlers]
