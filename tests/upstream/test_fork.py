"""A process that forks shares no connection with its children: an answer is for one of them."""

import asyncio
import contextlib
import os
import signal
import sys

import pytest
from raw_origin import RawOrigin
from wire import fetch

from rolo.errors import NoPortalError
from rolo.gateway import Gateway
from rolo.portal import current_portal
from rolo.proxy import ProxyHandler
from rolo.serving import serve
from rolo.upstream.blocking_transport import SyncTransport
from rolo.upstream.request import UpstreamRequest
from rolo.wire.target import parse_upstream

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    # From Python 3.12 on, as the origin runs on threads. The child needs none of them.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


def name_the_connection(origin, connection, number):
    """Answer each request with the number of its connection."""
    while origin.head(connection):
        body = b"%d" % number
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def in_a_child(function):
    """Return what ``function`` returns in a fork of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # of one that waits for ever
        with contextlib.suppress(BaseException):
            os.write(writing, function())
        sys.stderr.flush()
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as result:
        said = result.read()
    os.waitpid(child, 0)
    return said


def send(transport, url):
    request = UpstreamRequest(parse_upstream(url).origin, "GET", b"/", [(b"Host", b"origin")])
    return transport.send(request)


def test_a_child_dials_for_itself():
    with RawOrigin(name_the_connection) as origin, SyncTransport() as transport:
        assert send(transport, origin.url).body.read() == b"1"
        assert in_a_child(lambda: send(transport, origin.url).body.read()) == b"2"
        after = send(transport, origin.url)
        assert after.body.read() == b"1"
        assert after.reused


def test_a_body_that_is_under_way_stays_with_the_parent():
    def halves(origin, connection, number):
        origin.head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        origin.head(connection)

    with RawOrigin(halves) as origin, SyncTransport() as transport:
        body = send(transport, origin.url).body
        assert body.read1() == b"half"

        def read_on():
            try:
                return body.read1()
            except Exception as error:  # noqa: BLE001 - told by its name
                return type(error).__name__.encode()

        assert in_a_child(read_on) == b"BodyInterrupted"
        body.close()


def test_a_lock_that_another_thread_held_is_free_in_the_child():
    with RawOrigin(name_the_connection) as origin, SyncTransport() as transport:
        send(transport, origin.url).body.read()
        (pool,) = transport._pools.values()
        # As if another thread had been in the pool just then, by another reentrant lock.
        pool._changed = _HeldElsewhere()
        assert in_a_child(lambda: send(transport, origin.url).body.read()) == b"2"
        transport._pools.clear()


class _HeldElsewhere:
    def __enter__(self):
        raise AssertionError("this would wait for ever")

    def __exit__(self, *exc):
        pass


def test_a_proxy_on_a_loop_dials_for_itself_in_a_child():
    with RawOrigin(name_the_connection) as origin:
        handler = ProxyHandler(origin.url)
        gateway = Gateway([handler])

        def ask():
            with serve(gateway, server="native") as server:
                return fetch(server.url).body

        with serve(gateway, server="native") as server:
            assert fetch(server.url).body == b"1"
            assert in_a_child(ask) == b"2"
            assert fetch(server.url).body == b"1"
        handler.close()


@pytest.mark.parametrize("mode", ["threads", "loop"])
def test_a_child_of_a_handler_waits_for_no_loop_of_its_parent(mode):
    def handler(chain, context, response):
        portal = current_portal()

        def say():
            try:
                portal.call(asyncio.sleep(0))
            except NoPortalError:
                portal.post(os._exit, 1)  # nor does anything else reach that loop
                return b"no portal" if current_portal() is None else b"inherited"

        response.set_response(in_a_child(say))

    with serve(Gateway([handler]), server="native", mode=mode) as server:
        assert fetch(server.url).body == b"no portal"
