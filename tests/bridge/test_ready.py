"""Answers that are there already are sent without asking a handler, and no others."""

import asyncio

import pytest

from rolo.bridge.downstream import RequestHead
from rolo.bridge.limits import Limits
from rolo.bridge.ready import answered_at_once
from rolo.errors import BadRequest, ClientDisconnected

ANSWER = (200, b"OK", [(b"Content-Length", b"2")], b"hi")


class Fake:
    """A downstream that notes what is done to it."""

    def __init__(self, method="GET", target=b"/", *, may_have_body=False, fault=None, gone=False):
        self.head = RequestHead(method, target, [], "1.1", "http", "/", b"")
        self.may_have_body, self.fault, self.gone = may_have_body, fault, gone
        self.done = []

    async def send_complete(self, *answer):
        if self.gone:
            raise ClientDisconnected("gone")
        self.done.append(answer)

    def abort(self, error):
        self.done.append(error)


def served(downstream, ready=lambda head: ANSWER):
    async def handlers(downstream):
        downstream.done.append("handlers")

    asyncio.run(answered_at_once(handlers, ready, Limits(max_target=10))(downstream))
    return downstream.done


def test_what_is_ready_is_sent_and_nobody_is_asked():
    assert served(Fake()) == [ANSWER]


@pytest.mark.parametrize(
    "downstream",
    [
        pytest.param(Fake(may_have_body=True), id="a body may come"),
        pytest.param(Fake(fault=BadRequest("no")), id="it is refused as it came"),
        pytest.param(Fake(target=b"/" * 11), id="it is over a limit"),
        pytest.param(Fake("WEBSOCKET"), id="its method is that of websockets"),
    ],
)
def test_handlers_get_whatever_may_be_refused_or_has_a_body(downstream):
    assert served(downstream) == ["handlers"]


def test_handlers_are_asked_if_nothing_is_ready():
    assert served(Fake(), lambda head: None) == ["handlers"]


def test_a_client_that_has_left_is_let_go():
    (error,) = served(Fake(gone=True))
    assert isinstance(error, ClientDisconnected)
