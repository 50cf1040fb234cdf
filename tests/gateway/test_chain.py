import logging

import pytest
from werkzeug.exceptions import Forbidden, NotFound

from rolo import Request, Response
from rolo.errors import ClientDisconnected, ConnectError
from rolo.gateway import (
    CompositeExceptionHandler,
    CompositeFinalizer,
    CompositeHandler,
    CompositeResponseHandler,
    HandlerChain,
    RequestContext,
)
from rolo.gateway.chain import call_safe, context_of, forget_context, remember_context


class Run:
    """A chain whose handlers note their names."""

    def __init__(self, **switches):
        self.calls = []
        self.chain = HandlerChain()
        for name, value in switches.items():
            setattr(self.chain, name, value)
        self.response = Response()
        self.context = RequestContext(Request())

    def note(self, name, action=None):
        def handler(chain, context, response):
            self.calls.append(name)
            if action:
                action(chain)

        return handler

    def note_error(self, name, action=None):
        def handler(chain, exception, context, response):
            self.calls.append(name)
            if action:
                action(chain, exception, response)

        return handler

    def setup(self, requests=(), errors=()):
        self.chain.request_handlers.extend(requests)
        self.chain.exception_handlers.extend(errors)
        self.chain.response_handlers.append(self.note("response"))
        self.chain.finalizers.append(self.note("finalizer"))
        return self

    def handle(self):
        self.chain.handle(self.context, self.response)
        return self


def fail(chain):
    raise ValueError("boom")


def test_handlers_run_in_order():
    run = Run()
    run.setup([run.note(1), run.note(2)]).handle()
    assert run.calls == [1, 2, "response", "finalizer"]
    assert run.chain.finalized
    assert run.chain.context is run.context
    assert run.chain.response is run.response


@pytest.mark.parametrize(
    ("action", "calls"),
    [
        (HandlerChain.stop, [1, "response", "finalizer"]),
        (HandlerChain.terminate, [1, "finalizer"]),
        (HandlerChain.respond, [1, "response", "finalizer"]),
    ],
)
def test_request_handler_ends_the_round(action, calls):
    run = Run()
    run.setup([run.note(1, action), run.note(2)]).handle()
    assert run.calls == calls


def test_response_handler_terminates():
    run = Run()
    run.chain.response_handlers.append(run.note("first", HandlerChain.terminate))
    run.setup().handle()
    assert run.calls == ["first", "finalizer"]


def test_every_exception_handler_hears_of_an_error():
    run = Run()
    run.setup(
        [run.note(1, fail), run.note(2)],
        [run.note_error("e1", lambda chain, exc, response: 1 / 0), run.note_error("e2")],
    ).handle()
    assert run.calls == [1, "e1", "e2", "response", "finalizer"]
    assert run.chain.stopped
    assert run.chain.error is None
    assert isinstance(run.chain.exception, ValueError)


def test_chain_goes_on_without_stop_on_error():
    run = Run(stop_on_error=False)
    run.setup([run.note(1, fail), run.note(2)], [run.note_error("e")]).handle()
    assert run.calls == [1, "e", 2, "response", "finalizer"]
    assert run.response.status_code == 200


def test_raise_on_error():
    run = Run(raise_on_error=True)
    run.setup([run.note(1, fail)], [run.note_error("e")])
    with pytest.raises(ValueError, match="boom"):
        run.handle()
    assert run.calls == [1, "e", "finalizer"]


@pytest.mark.parametrize("place", ["request handler", "exception handler"])
def test_throw_leaves_the_chain(place):
    run = Run()
    if place == "request handler":
        run.setup(
            [run.note(1, lambda chain: chain.throw(KeyError("t"))), run.note(2)],
            [run.note_error("e")],
        )
        calls = [1, "finalizer"]
    else:
        run.setup(
            [run.note(1, fail)],
            [run.note_error("e", lambda chain, exc, r: chain.throw(KeyError("t")))],
        )
        calls = [1, "e", "finalizer"]
    with pytest.raises(KeyError):
        run.handle()
    assert run.calls == calls


def test_throw_in_a_response_handler_has_no_effect():
    run = Run()
    run.chain.response_handlers.append(run.note("first", lambda chain: chain.throw(KeyError())))
    run.setup().handle()
    assert run.calls == ["first", "response", "finalizer"]


@pytest.mark.parametrize("place", ["request_handlers", "response_handlers"])
def test_cancellation_passes_through_and_finalizers_run(place):
    class Cancelled(BaseException):
        pass

    def cancel(chain):
        raise Cancelled

    run = Run()
    getattr(run.chain, place).append(run.note("cancelled", cancel))
    run.setup(errors=[run.note_error("e")])
    with pytest.raises(Cancelled):
        run.handle()
    assert run.calls == ["cancelled", "finalizer"]


def test_errors_of_later_handlers_are_logged_and_change_nothing(caplog):
    run = Run()
    run.chain.response_handlers.append(run.note("r0", fail))
    run.chain.finalizers.append(run.note("f0", fail))
    with caplog.at_level(logging.INFO, "rolo"):
        run.setup().handle()
    assert run.calls == ["r0", "response", "f0", "finalizer"]
    assert run.response.status_code == 200
    assert [record.exc_info for record in caplog.records] == [None, None]
    with caplog.at_level(logging.DEBUG, "rolo"):
        run.handle()
    assert caplog.records[-1].exc_info


@pytest.mark.parametrize("switches", [{}, {"stop_on_error": False}, {"raise_on_error": True}])
@pytest.mark.parametrize("place", ["request", "exception", "response", "thrown", "no error"])
def test_finalizers_run_in_order_once_and_last_whatever_fails(place, switches):
    def throw(chain):
        chain.throw(KeyError("thrown"))

    run = Run(**switches)
    request = {"thrown": throw, "no error": None, "response": None}.get(place, fail)
    run.chain.request_handlers.append(run.note("request", request))
    broken = (lambda chain, exc, response: 1 / 0) if place == "exception" else None
    run.chain.exception_handlers.append(run.note_error("exception", broken))
    run.chain.response_handlers.append(run.note("response", fail if place == "response" else None))
    run.chain.finalizers.extend([run.note("f1", fail), run.note("f2", fail), run.note("f3")])
    try:
        run.handle()
    except (KeyError, ValueError):
        assert place == "thrown" or "raise_on_error" in switches
    assert run.calls[-3:] == ["f1", "f2", "f3"]
    assert [call for call in run.calls if call.startswith("f")] == ["f1", "f2", "f3"]
    assert run.chain.finalized


def test_the_context_is_found_by_its_request_until_it_is_forgotten():
    context = RequestContext(Request())
    assert context_of(context.request) is None
    remember_context(context)
    assert context_of(context.request) is context
    forget_context(context)
    assert context_of(context.request) is None


@pytest.mark.parametrize(
    ("error", "status", "level"),
    [
        pytest.param(ValueError("secret"), 500, "ERROR", id="any error"),
        pytest.param(ConnectError("secret"), 502, "ERROR", id="error with a status"),
        pytest.param(Forbidden(), 403, "DEBUG", id="HTTP exception"),
        pytest.param(ClientDisconnected("secret"), 499, "DEBUG", id="client left"),
    ],
)
@pytest.mark.parametrize("handlers", [0, 1])
def test_error_that_nobody_handled(error, status, level, handlers, caplog):
    def raise_error(chain):
        raise error

    closed = []

    class Body(list):
        def close(self):
            closed.append(1)

    run = Run()
    run.response.set_response(Body())
    run.response.headers["Content-Length"] = "100"
    with caplog.at_level(logging.DEBUG, "rolo"):
        run.setup([run.note(1, raise_error)], [run.note_error("e")] * handlers).handle()
    assert run.response.status_code == status
    assert b"secret" not in run.response.data
    assert run.response.headers["Content-Length"] == str(len(run.response.data))
    assert [record.levelname for record in caplog.records] == [level]
    assert closed == [1]
    assert run.calls[-2:] == ["response", "finalizer"]


@pytest.mark.parametrize(
    "handle",
    [
        lambda chain, exc, response: chain.respond(400, "handled"),
        lambda chain, exc, response: response.set_data(b"handled"),
        lambda chain, exc, response: setattr(response, "status_code", 418),
        lambda chain, exc, response: chain.terminate(),
    ],
    ids=["respond", "body", "status", "terminate"],
)
def test_error_that_somebody_handled_is_left_alone(handle, caplog):
    run = Run()
    run.setup([run.note(1, fail)], [run.note_error("e", handle)]).handle()
    assert run.response.status_code != 500
    assert caplog.records == []


@pytest.mark.parametrize(
    ("payload", "data", "mimetype"),
    [
        pytest.param(None, b"", "text/plain", id="none"),
        pytest.param({"a": 1}, b'{"a": 1}', "application/json", id="dict"),
        pytest.param([], b"[]", "application/json", id="list"),
        pytest.param("s", b"s", "text/plain", id="text"),
        pytest.param(b"b", b"b", "text/plain", id="bytes"),
        pytest.param(iter([b"x", b"y"]), b"xy", "text/plain", id="stream"),
    ],
)
def test_respond(payload, data, mimetype):
    run = Run()
    respond = run.note(1, lambda chain: chain.respond(202, payload, {"X": "1"}))
    run.response.headers["X"] = "0"
    run.setup([respond]).handle()
    response = run.response
    assert (response.status_code, response.data, response.mimetype) == (202, data, mimetype)
    assert response.headers.getlist("X") == ["1"]


def test_respond_lets_headers_choose_the_type():
    run = Run()
    run.setup([run.note(1, lambda c: c.respond(200, {}, {"Content-Type": "a/b"}))]).handle()
    assert run.response.headers["Content-Type"] == "a/b"


def test_context_takes_any_attribute():
    context = RequestContext()
    assert context.request is None
    with pytest.raises(AttributeError):
        _ = context.user
    assert context.get("user") is None
    context.user = "me"
    assert context.get("user") == "me"
    assert context.__dict__ == {"request": None, "user": "me"}


def test_chain_can_be_subscripted_and_shares_the_lists_it_is_given():
    handlers = []
    assert HandlerChain[RequestContext](handlers).request_handlers is handlers


@pytest.mark.parametrize(
    ("return_on_stop", "action", "calls"),
    [
        (True, HandlerChain.stop, [1]),
        (False, HandlerChain.stop, [1, 2]),
        (True, HandlerChain.terminate, [1]),
        (False, HandlerChain.terminate, [1]),
    ],
)
def test_composite_handler(return_on_stop, action, calls):
    run = Run()
    composite = CompositeHandler(return_on_stop=return_on_stop)
    composite.append(run.note(1, action))
    composite.append(run.note(2))
    HandlerChain([composite]).handle(run.context, run.response)
    assert run.calls == calls


def test_composite_handler_removes():
    run = Run()
    composite = CompositeHandler()
    handler = run.note(1)
    composite.append(handler)
    composite.remove(handler)
    assert composite.handlers == []


def test_composite_response_handler_ignores_stop():
    run = Run()
    composite = CompositeResponseHandler()
    composite.append(run.note(1, HandlerChain.stop))
    composite.append(run.note(2))
    HandlerChain([run.note(0, HandlerChain.stop)], [composite]).handle(run.context, run.response)
    assert run.calls == [0, 1, 2]


def test_composite_finalizer_runs_all(caplog):
    run = Run()
    composite = CompositeFinalizer()
    for name, action in ((1, HandlerChain.terminate), (2, fail), (3, None)):
        composite.append(run.note(name, action))
    HandlerChain(finalizers=[composite]).handle(run.context, run.response)
    assert run.calls == [1, 2, 3]
    assert "boom" in caplog.text


def test_composite_exception_handler_runs_all():
    run = Run()
    composite = CompositeExceptionHandler()
    composite.append(run.note_error(1, lambda chain, exc, response: 1 / 0))
    composite.append(run.note_error(2, lambda chain, exc, response: chain.respond(404)))
    gone = run.note_error(3)
    composite.append(gone)
    composite.remove(gone)
    HandlerChain([run.note(0, fail)], exception_handlers=[composite]).handle(
        run.context, run.response
    )
    assert run.calls == [0, 1, 2]
    assert run.response.status_code == 404


def test_subclass_may_wrap_the_stages():
    stages = []

    class Traced(HandlerChain):
        def _call_response_handlers(self, response):
            stages.append("response")
            super()._call_response_handlers(response)

        def _call_finalizers(self, response):
            stages.append("final")
            super()._call_finalizers(response)

        def _call_exception_handlers(self, e, response):
            stages.append(type(e))
            super()._call_exception_handlers(e, response)

    def missing(chain, context, response):
        raise NotFound

    def nothing(chain, context, response):
        pass

    Traced([missing], [nothing], [nothing]).handle(RequestContext(), Response())
    assert stages == [NotFound, "response", "final"]


def test_call_safe(caplog):
    assert call_safe(lambda x, y: x + y, (1,), {"y": 2}) == 3
    assert call_safe(lambda: 1 / 0, exception_message="hey") is None
    assert "hey: ZeroDivisionError" in caplog.text
