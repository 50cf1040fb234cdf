"""A handler or hook that blocks the loop is named in the log."""

import contextlib
import logging
import threading
import time

import pytest
from threaded_origin import ThreadedOrigin
from wire import fetch

from rolo import Response
from rolo.gateway import Gateway
from rolo.gateway.asgi import AsgiGateway
from rolo.proxy import ProxyHandler
from rolo.serving import serve

LIMIT = 0.05


@pytest.fixture
def warned(caplog):
    """Returns a wait for the next warning of the watchdog."""
    arrived = threading.Event()

    class Told(logging.Handler):
        def emit(self, record):
            arrived.set()

    handler = Told()
    logger = logging.getLogger("rolo.portal.watchdog")
    logger.addHandler(handler)
    yield arrived
    logger.removeHandler(handler)


@contextlib.contextmanager
def served(*handlers, mode="loop", watchdog=LIMIT):
    app = AsgiGateway(Gateway(list(handlers)), mode=mode, watchdog=watchdog)
    with serve(app, server="native") as server:
        yield server.url
    app.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "rolo-watchdog"]


def block_until(event):
    # What is tested is exactly this: a wait that rolo knows nothing of.
    assert event.wait(10)


def test_a_blocking_hook_is_named_once_with_its_stack(warned, caplog):
    def blocks(context, response):
        block_until(warned)
        response.headers["X-Edge"] = "yes"

    with ThreadedOrigin() as origin:
        handler = ProxyHandler(origin.url, on_response=blocks)
        with served(handler) as url:
            assert fetch(url).get("x-edge") == "yes"
            fetch(url)
        handler.close()
    (record,) = [r for r in caplog.records if r.name == "rolo.portal.watchdog"]
    assert "blocks has blocked the event loop for 0.05 s" in record.getMessage()
    assert "block_until(warned)" in record.getMessage()


def test_a_blocking_handler_of_a_chain_is_named_too(warned, caplog):
    def handler(chain, context, response):
        block_until(warned)
        response.update_from(Response("ok"))

    with served(handler) as url:
        assert fetch(url).body == b"ok"
    assert "test_a_blocking_handler_of_a_chain_is_named_too.<locals>.handler" in caplog.text


def test_nobody_is_blamed_for_waiting_through_rolo(caplog):
    with ThreadedOrigin() as origin:
        handler = ProxyHandler(origin.url, on_response=lambda context, _: context.sleep(4 * LIMIT))
        with served(handler) as url:
            assert fetch(url).status == 200
        handler.close()
    assert "has blocked" not in caplog.text


def test_threads_may_block(caplog):
    def handler(chain, context, response):
        time.sleep(3 * LIMIT)

    with served(handler, mode="threads") as url:
        fetch(url)
    assert "has blocked" not in caplog.text
