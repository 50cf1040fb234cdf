"""One line per exchange, written by the gateway and not by the server below it.

A line is close to the common log format::

    127.0.0.1 - - [23/Nov/2026:10:00:00 +0000] "GET /x HTTP/1.1" 200 0.004 200

What follows the status: seconds from the start of the chain to its end (for a stream: to
its head), and the status that the upstream gave, ``-`` if the answer is our own.
"""

from __future__ import annotations

import logging
import time
import typing as t

from rolo.gateway.chain import HandlerChain, RequestContext
from rolo.request import Request
from rolo.response import Response

LOG = logging.getLogger("rolo.access")


class AccessLog:
    """A pair of handlers: ``begin`` goes first into a chain, ``finish`` is a finalizer."""

    def begin(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        context.started = time.perf_counter()

    def finish(
        self, chain: HandlerChain[t.Any], context: RequestContext, response: Response
    ) -> None:
        request = context.request
        if request is None or not LOG.isEnabledFor(logging.INFO):
            return
        client, line = _request_line(request)
        status, upstream = _status(request, response)
        LOG.info(
            '%s - - [%s] "%s" %s %.3f %s',
            client,
            time.strftime("%d/%b/%Y:%H:%M:%S %z"),
            line,
            status,
            time.perf_counter() - context.started,
            upstream,
        )


def _request_line(request: Request) -> tuple[str, str]:
    """Return the client's address and the request line, safe to print."""
    head = getattr(request, "head", None)
    if head is not None:  # cheaper than the environ that the attributes below build
        client = head.client[0] if head.client else "-"
        target = head.target.decode("latin-1")
        line = f"{head.method} {target} HTTP/{head.http_version}"
    else:
        client = request.remote_addr or "-"
        target = request.environ.get("RAW_URI") or request.full_path.rstrip("?")
        line = f"{request.method} {target} {request.environ.get('SERVER_PROTOCOL', '-')}"
    # Bytes of a client must not write lines or quotes of their own into a log.
    return client, ascii(line)[1:-1].replace('"', "\\x22")


def _status(request: Request, response: t.Any) -> tuple[int, int | str]:
    answer = getattr(response, "untouched_answer", None)
    if answer is not None:
        return answer.status, answer.status
    is_upgraded = getattr(request, "is_upgraded", None)
    status = 101 if is_upgraded is not None and is_upgraded() else response.status_code
    return status, status if getattr(response, "is_forwarded", False) else "-"
