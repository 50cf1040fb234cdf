"""What can never be a hook is told when the proxy is made."""

import functools

import pytest

from rolo.proxy import Hooks, Proxy, ProxyHandler
from rolo.proxy.hooks.checks import HookMistake

URL = "http://127.0.0.1:9"


async def waiting(context, response):
    pass


async def making(context, response):
    yield


class Called:
    def __call__(self, context, response):
        pass


class CalledAsync:
    async def __call__(self, context, response):
        pass


@pytest.mark.parametrize(
    ("function", "told"),
    [
        pytest.param(waiting, r"test_checks\.py:13: on_response is async def", id="async"),
        pytest.param(making, r":17: on_response is async def", id="asynchronous generator"),
        pytest.param(CalledAsync(), "on_response is async def", id="object with async call"),
        pytest.param("brand", "on_response is no function but 'brand'", id="not callable"),
        pytest.param(Called, "on_response is a class, Called,", id="class"),
        pytest.param(
            lambda context: None,
            r"test_checks\.py:\d+: it is on_response\(context, response\)",
            id="too few parameters",
        ),
        pytest.param(
            lambda context, response, more: None, r"it is on_response\(", id="too many parameters"
        ),
    ],
)
@pytest.mark.parametrize("make", [Proxy, ProxyHandler])
def test_functions_that_cannot_serve_a_phase(make, function, told):
    with pytest.raises(HookMistake, match=told):
        make(URL, on_response=function)


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(Called(), id="object"),
        pytest.param(functools.partial(lambda way, context, response: None, "x"), id="partial"),
        pytest.param(lambda *args: None, id="any parameters"),
        pytest.param(lambda context, response, why="": None, id="parameter with a default"),
        pytest.param(print, id="builtin"),
    ],
)
def test_functions_that_can(function):
    Proxy(URL, on_response=function).close()


class Misspelt(Hooks):
    def on_respnse(self, context, response):
        pass


class Short(Hooks):
    def on_response(self, response):
        pass


class Static(Hooks):
    @staticmethod
    def on_response(context, response):
        pass


class Disabled(Static):
    on_response = None


def test_methods_are_looked_at_as_functions_are():
    with pytest.raises(HookMistake, match=r"no phase on_respnse, did you mean on_response\?"):
        Proxy(URL, hooks=[Misspelt()])
    with pytest.raises(HookMistake, match=r"it is on_response\(context, response\)"):
        Proxy(URL, hooks=[Short()])
    with pytest.raises(HookMistake, match="on_response is no function but None"):
        Proxy(URL, hooks=[Disabled()])
    Proxy(URL, hooks=[Static()]).close()


def test_unknown_phases_are_named_with_what_comes_close():
    with pytest.raises(HookMistake, match="no phase on_xyz; there are on_request, "):
        Proxy(URL, on_xyz=print)
    with pytest.raises(HookMistake, match="did you mean on_request"):
        Proxy(URL, on_requset=print)


def test_hooks_are_objects():
    with pytest.raises(HookMistake, match=r"hooks are objects: Static\(\), not the class itself"):
        Proxy(URL, hooks=[Static])
    with pytest.raises(HookMistake, match="subclasses of Hooks, not <function"):
        Proxy(URL, hooks=[waiting])


def test_a_phase_that_is_set_too_late_is_an_error_and_use_is_named():
    handler = ProxyHandler(URL)
    with pytest.raises(AttributeError, match=r"proxy\.use\(on_request=\.\.\.\)"):
        handler.on_request = print
    handler.anything = 1
    handler.proxy.use(on_request=print)
    assert handler.proxy.phases["on_request"][0].call is print
    handler.close()


def test_a_phase_may_be_set_before_the_proxy_is_made():
    class Late(ProxyHandler):
        def __init__(self, url):
            self.on_request = lambda context: None
            super().__init__(url)

    late = Late(URL)
    assert late.proxy.phases["on_request"]
    late.close()
