"""Hooks are started before their first exchange and closed after their last."""

import threading

import pytest

from rolo import Request, Response
from rolo.errors import HookError
from rolo.http_client import HttpClient
from rolo.proxy import Hooks, Proxy, ProxyHandler
from rolo.proxy.hooks.checks import HookMistake


class Answers(HttpClient):
    def __init__(self):
        self.asked = 0

    def request(self, request, server=None):
        self.asked += 1
        return Response("ok")

    def close(self):
        pass


class Noted(Hooks):
    def __init__(self, name, log, fails=""):
        self.name, self.log, self.fails = name, log, fails

    def start(self):
        self.note("start")

    def close(self):
        self.note("close")

    def note(self, what):
        self.log.append(f"{what} {self.name}")
        if what == self.fails:
            raise ValueError(what)


def proxy_of(*hooks):
    return Proxy("http://upstream", Answers(), hooks=hooks)


def exchange(proxy):
    """One that is over when its response is closed."""
    return proxy.forward(Request("GET", "/", headers={"Host": "h"}))


def test_they_start_once_in_order_and_close_once_in_reverse():
    log = []
    proxy = proxy_of(Noted("a", log), Noted("b", log))
    for _ in range(2):
        exchange(proxy).close()
    assert log == ["start a", "start b"]
    proxy.close()
    proxy.close()
    assert log[2:] == ["close b", "close a"]


def test_what_had_no_exchange_is_neither_started_nor_closed():
    log = []
    proxy_of(Noted("a", log)).close()
    assert log == []


def test_a_start_that_fails_fails_the_exchange_and_is_tried_again(caplog):
    log = []
    failing = Noted("b", log, fails="start")
    proxy = proxy_of(Noted("a", log), failing, Noted("c", log))
    with pytest.raises(HookError):
        exchange(proxy)
    assert log == ["start a", "start b", "close a"]
    assert "start of Noted raised ValueError" in caplog.text
    assert proxy.client.asked == 0
    failing.fails = ""
    exchange(proxy).close()
    proxy.close()
    assert log[3:] == ["start a", "start b", "start c", "close c", "close b", "close a"]


def test_a_close_that_fails_is_logged_and_the_others_are_closed(caplog):
    log = []
    proxy = proxy_of(Noted("a", log), Noted("b", log, fails="close"))
    exchange(proxy).close()
    proxy.close()
    assert log[2:] == ["close b", "close a"]
    assert "close of Noted raised ValueError" in caplog.text


def test_replaced_hooks_are_closed_when_their_last_exchange_is_over():
    log = []
    proxy = proxy_of(Noted("old", log))
    first, second = exchange(proxy), exchange(proxy)
    proxy.use([Noted("new", log)])
    exchange(proxy).close()
    first.close()
    assert log == ["start old", "start new"]
    second.close()
    assert log[2:] == ["close old"]
    proxy.close()
    assert log[3:] == ["close new"]


def test_what_an_exchange_started_aside_belongs_to_it():
    log, go_on, closed = [], threading.Event(), threading.Event()

    class Aside(Noted):
        def on_finished(self, context):
            context.start_aside(lambda: go_on.wait(5) and log.append("aside"))

        def close(self):
            super().close()
            closed.set()

    proxy = proxy_of(Aside("a", log))
    exchange(proxy).close()
    proxy.use()
    assert log == ["start a"]
    go_on.set()
    assert closed.wait(5)
    assert log == ["start a", "aside", "close a"]


def test_without_a_loop_closing_the_proxy_waits_for_no_answer_that_was_forgotten():
    log = []
    proxy = proxy_of(Noted("a", log))
    response = exchange(proxy)
    proxy.close()
    assert log == ["start a", "close a"]
    response.close()
    assert log == ["start a", "close a"]


def test_a_handler_starts_with_its_proxy_and_is_closed_by_its_owner():
    log = []

    class Handler(ProxyHandler):
        def start(self):
            log.append("start")

        def close(self):
            log.append("close")
            super().close()

    handler = Handler("http://upstream", Answers(), hooks=[Noted("a", log)])
    exchange(handler.proxy).close()
    handler.close()
    assert log == ["start", "start a", "close", "close a"]


@pytest.mark.parametrize("name", ["start", "close"])
def test_a_start_or_close_that_cannot_be_called_is_told_at_once(name):
    async def never(self):
        pass

    kind = type("Wrong", (Hooks,), {name: never})
    with pytest.raises(HookMistake, match="async def"):
        proxy_of(kind())
