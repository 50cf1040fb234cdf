"""Where log lines go while a command runs."""

from __future__ import annotations

import contextlib
import logging
import sys
import typing as t

from rolo.errors import printable

if t.TYPE_CHECKING:
    from rolo.config.tree import LogConfig


@contextlib.contextmanager
def logging_to_the_terminal(config: LogConfig) -> t.Iterator[None]:
    """Write rolo's log to standard error and the access log to standard output, as much of
    them as ``config`` says."""
    rolo = logging.getLogger("rolo")
    access = logging.getLogger("rolo.access")
    level = logging.ERROR if config.quiet else logging.DEBUG if config.verbose else logging.WARNING
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            _handler(rolo, sys.stderr, "%(asctime)s %(levelname)s %(name)s: %(message)s")
        )
        stack.enter_context(_level(rolo, level))
        if config.writes_access:
            stack.enter_context(_handler(access, sys.stdout, "%(message)s"))
            stack.enter_context(_level(access, logging.INFO))
            access.propagate = False
            stack.callback(setattr, access, "propagate", True)
        yield


@contextlib.contextmanager
def _handler(logger: logging.Logger, stream: t.TextIO, layout: str) -> t.Iterator[None]:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter(layout))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Formatter(logging.Formatter):
    """Lets nothing through that a terminal would obey, or that looks like a line of ours:
    what hooks raise may quote their client."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), keep="\n\t")

    def formatException(self, ei: t.Any) -> str:
        return super().formatException(ei).replace("\n", "\n  ")


@contextlib.contextmanager
def _level(logger: logging.Logger, level: int) -> t.Iterator[None]:
    former = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(former)
