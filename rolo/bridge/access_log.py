"""One line for each exchange, written at its end: an observer.

A line is close to the common log format::

    127.0.0.1 - - [23/Nov/2026:10:00:00 +0000] "GET /x HTTP/1.1" 200 0.004 200 1234 complete

What follows the request line: the status that the client was sent (101 for a websocket, ``-``
if the client left before), seconds from the request's head to the end, the status that the
upstream gave (``-`` if the answer is our own), bytes of the answer's body (of a websocket, of
the messages to the client), and how it ended, see :data:`~rolo.bridge.observer.Outcome`: with
an error, the name of the error in its place.
"""

from __future__ import annotations

import functools
import logging
import time

from rolo.bridge.observer import Ended, Missed, Observer

LOG = logging.getLogger("rolo.access")


class AccessLog(Observer):
    """Writes a line at level INFO to the logger ``rolo.access`` for each exchange."""

    def on_end(self, event: Ended) -> None:
        if LOG.isEnabledFor(logging.INFO):
            LOG.info("%s", line_of(event))

    def on_missed(self, missed: Missed) -> None:
        LOG.warning("the log did not keep up: %d lines are missing", missed.events)


def line_of(event: Ended) -> str:
    """Return the line for an exchange, safe to print."""
    exchange = event.exchange
    seconds = event.at - exchange.started
    client = exchange.client[0] if exchange.client else "-"
    when = _when(int(exchange.wall + seconds))
    status = "-" if event.status is None else event.status
    upstream = "-" if event.upstream_status is None else event.upstream_status
    return (
        f'{client} - - [{when}] "{_escaped(exchange.line)}" {status} {seconds:.3f} {upstream} '
        f"{event.sent} {event.error or event.outcome}"
    )


@functools.lru_cache(maxsize=8)
def _when(second: int) -> str:
    """Many exchanges end in the same second, and strftime costs as much as the rest."""
    return time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second))


def _escaped(line: bytes) -> str:
    """Bytes of a client must not write lines or quotes of their own into a log."""
    return ascii(line.decode("latin-1"))[1:-1].replace('"', "\\x22")
