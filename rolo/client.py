"""Sending requests from Python: the names that scripts import.

Proxies forward with :class:`rolo.proxy.ForwardingClient`; :class:`SimpleRequestsClient` is
there for programs that bring a ``requests`` session.
"""

from __future__ import annotations

from rolo.http_client import HttpClient, SimpleRequestsClient
from rolo.proxy.client import ForwardingClient
from rolo.request import (
    Request,
    get_raw_base_url,
    get_raw_current_url,
    get_raw_path,
    restore_payload,
)
from rolo.response import Response
from rolo.upstream.settings import PoolLimits

__all__ = [
    "HttpClient",
    "SimpleRequestsClient",
    "get_raw_base_url",
    "get_raw_current_url",
    "get_raw_path",
    "make_request",
    "restore_payload",
]


def make_request(request: Request) -> Response:
    """Send ``request`` to the host that it names and return the answer.

    Nothing is added or followed. The body streams over a connection of its own: close the
    response, or read it to its end.

    :raises UpstreamError: there is no answer; the subclass says why
    """
    client = ForwardingClient(limits=PoolLimits(max_idle=0))
    try:
        response = client.request(request)
    except BaseException:
        client.close()
        raise
    response.call_on_close(client.close)
    return response
