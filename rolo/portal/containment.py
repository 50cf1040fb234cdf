"""Errors of code that is not ours, kept to the exchange in which they happen."""

from __future__ import annotations

import asyncio
import signal
import threading

import greenlet

ERRORS = (Exception, SystemExit, KeyboardInterrupt)
"""What code of the user's may raise: to us these are errors, see :func:`contained`. What is
left are cancellations and the like, which are to pass."""

# They steer coroutines, generators and greenlets; whoever throws one waits for it.
_STEERING = (asyncio.CancelledError, GeneratorExit, greenlet.GreenletExit)


class ProgramExit(Exception):
    """A handler, hook or body raised what is meant to end a program: ``SystemExit``,
    ``KeyboardInterrupt`` or the like. It is no more than an error there: only the main
    program ends the server. ``__cause__`` is what was raised."""


def contained(error: BaseException, *, steered: bool = True) -> Exception:
    """Return what ``error``, raised by code of the user's, is to the exchange: itself if it is
    an ordinary error, else a :class:`ProgramExit`.

    :param steered: whether the caller may be cancelled or closed through that code
    :raises BaseException: ``error`` itself, if it is a cancellation or close on its way (with
        ``steered``), or a Ctrl-C of Python's own that hit the main thread there
    """
    if isinstance(error, Exception):
        return error
    if (steered and isinstance(error, _STEERING)) or _is_ctrl_c(error):
        try:
            raise error
        finally:
            del error  # its traceback leads back here
    contained = ProgramExit(f"{type(error).__name__} in a handler or hook")
    contained.__cause__ = error
    return contained


def _is_ctrl_c(error: BaseException) -> bool:
    return (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
