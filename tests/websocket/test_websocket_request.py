import pytest
from scripted_websocket import ScriptedAdapter, environment
from werkzeug.datastructures import Headers

from rolo import Response
from rolo.websocket import (
    WebSocketDisconnectedError,
    WebSocketError,
    WebSocketProtocolError,
    WebSocketRequest,
)
from rolo.websocket.adapter import (
    AcceptConnection,
    BytesMessage,
    CreateConnection,
    TextMessage,
    WebSocketAdapter,
)


def opened(*events):
    adapter = ScriptedAdapter(events)
    websocket = WebSocketRequest(environment(adapter)).accept()
    adapter.calls.clear()
    adapter.timeouts.clear()
    return websocket, adapter


def test_request_reads_the_handshake():
    request = WebSocketRequest(
        environment(
            ScriptedAdapter(),
            "/caf%C3%A9?x=1",
            **{"rolo.headers": [(b"Host", b"h"), (b"a-B", b"1")], "wsgi.url_scheme": "ws"},
        )
    )
    assert (request.method, request.path, request.scheme) == ("WEBSOCKET", "/café", "ws")
    assert request.args["x"] == "1"
    assert list(request.headers) == [("Host", "h"), ("a-B", "1")]
    request.headers["New"] = "1"


@pytest.mark.parametrize("key", ["rolo.websocket", "asgi.websocket"])
def test_socket_comes_from_the_environment(key):
    adapter = ScriptedAdapter()
    assert WebSocketRequest(environment(adapter, key=key)).socket is adapter


def test_environment_without_a_websocket():
    with pytest.raises(WebSocketProtocolError):
        WebSocketRequest({"PATH_INFO": "/"}).accept()


def test_accept():
    adapter = ScriptedAdapter()
    request = WebSocketRequest(environment(adapter))
    assert not request.is_upgraded()
    headers = Headers([("a", "b")])
    websocket = request.accept("sub", headers, 3)
    assert request.is_upgraded()
    assert not request.is_rejected()
    assert websocket.request is request
    assert websocket.socket is adapter
    assert (adapter.calls, adapter.headers, adapter.timeouts) == ([("accept", "sub")], headers, [3])


def test_reject_sends_the_response_and_closes_it():
    closed = []
    response = Response("no", 403, {"X": "y"})
    response.call_on_close(lambda: closed.append(1))
    adapter = ScriptedAdapter()
    request = WebSocketRequest(environment(adapter))
    request.reject(response)
    assert request.is_rejected()
    assert adapter.calls == [("reject", 403, b"no")]
    assert adapter.headers["X"] == "y"
    assert closed == [1]


@pytest.mark.parametrize("first", ["accept", "reject"])
@pytest.mark.parametrize("second", ["accept", "reject"])
def test_handshake_is_answered_once(first, second):
    adapter = ScriptedAdapter()
    request = WebSocketRequest(environment(adapter))
    args = {"accept": (), "reject": (Response(),)}
    getattr(request, first)(*args[first])
    with pytest.raises(ValueError, match="already"):
        getattr(request, second)(*args[second])
    assert len(adapter.calls) == 1


@pytest.mark.parametrize(
    ("decide", "calls"),
    [
        pytest.param(lambda request: None, [("close", 1000, None)], id="open"),
        pytest.param(
            WebSocketRequest.accept, [("accept", None), ("close", 1000, None)], id="accepted"
        ),
        pytest.param(
            lambda request: request.reject(Response()), [("reject", 200, b"")], id="rejected"
        ),
    ],
)
def test_close_closes_what_is_open_once(decide, calls):
    adapter = ScriptedAdapter()
    request = WebSocketRequest(environment(adapter))
    decide(request)
    request.close()
    request.close()
    assert adapter.calls == calls


@pytest.mark.parametrize("events", [[], [CreateConnection()]], ids=["without", "with"])
def test_receive_with_and_without_an_event_of_the_handshake(events):
    websocket, _ = opened(*events, TextMessage("a"), BytesMessage(b""), TextMessage(""))
    assert [websocket.receive() for _ in range(3)] == ["a", b"", ""]


def test_second_handshake_event_is_an_error():
    websocket, _ = opened(TextMessage("a"), CreateConnection())
    websocket.receive()
    with pytest.raises(WebSocketProtocolError, match="CreateConnection"):
        websocket.receive()


def test_timeouts_are_passed_on():
    websocket, adapter = opened(TextMessage("a"))
    websocket.receive(timeout=1)
    websocket.send("x", 2)
    assert adapter.timeouts == [1, 2]


def test_timeout_loses_nothing():
    websocket, _ = opened(TimeoutError(), TextMessage("a"))
    with pytest.raises(TimeoutError):
        websocket.receive(timeout=0.1)
    assert websocket.receive() == "a"


def test_send_text_and_bytes():
    websocket, adapter = opened()
    websocket.send("ü")
    websocket.send(b"\x00")
    assert adapter.calls == [("send", "ü"), ("send", b"\x00")]


def test_send_of_another_type():
    websocket, _ = opened()
    with pytest.raises(WebSocketProtocolError) as caught:
        websocket.send({})
    assert str(caught.value) == "Cannot send data type <class 'dict'> over websocket"
    with pytest.raises(ValueError, match="None"):
        websocket.send(None)


def test_iteration_ends_when_the_other_side_closes():
    websocket, _ = opened(
        TextMessage("a"), BytesMessage(b"b"), WebSocketDisconnectedError(4000, "bye")
    )
    assert websocket.close_code is None
    assert list(websocket) == ["a", b"b"]
    assert (websocket.close_code, websocket.close_reason) == (4000, "bye")
    assert list(websocket) == []


def test_nothing_is_sent_once_the_other_side_has_closed():
    websocket, adapter = opened(WebSocketDisconnectedError(1001, "x"))
    for act in (websocket.receive, websocket.receive, lambda: websocket.send("x")):
        with pytest.raises(WebSocketDisconnectedError) as caught:
            act()
        assert (caught.value.code, caught.value.reason) == (1001, "x")
    websocket.close()
    assert adapter.calls == []


def test_protocol_error_leaves_the_iteration():
    websocket, _ = opened(WebSocketProtocolError("odd"))
    with pytest.raises(WebSocketProtocolError):
        list(websocket)


def test_context_manager_closes():
    websocket, adapter = opened()
    with websocket as entered:
        assert entered is websocket
    assert adapter.calls == [("close", 1000, None)]


def test_context_manager_leaves_an_own_close_alone():
    websocket, adapter = opened()
    with websocket:
        websocket.close(4000, "r")
    assert adapter.calls == [("close", 4000, "r")]


def test_context_manager_closes_with_1011_on_an_error():
    websocket, adapter = opened()
    with pytest.raises(KeyError), websocket:
        raise KeyError
    assert adapter.calls == [("close", 1011, None)]


def test_last_received_at_is_the_adapters():
    assert opened()[0].last_received_at == 12.5


def test_errors_know_code_and_reason():
    error = WebSocketDisconnectedError()
    assert (error.code, error.reason) == (1005, None)
    assert isinstance(error, WebSocketError)
    assert isinstance(error, OSError)


def test_events_compare_by_value():
    assert TextMessage("a") == TextMessage("a")
    assert AcceptConnection() == AcceptConnection(None, [], [])
    assert CreateConnection() == CreateConnection()


@pytest.mark.parametrize("call", ["accept", "receive", "close"])
def test_adapter_is_abstract(call):
    with pytest.raises(NotImplementedError):
        getattr(WebSocketAdapter(), call)()


def fail(request):
    raise KeyError


def accept_and_fail(request):
    request.accept()
    raise KeyError


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        pytest.param(lambda request: None, [("close", 1000, None)], id="undecided"),
        pytest.param(lambda request: request.accept(), [("accept", None)], id="accepted"),
        pytest.param(fail, [("reject", 500, b"500 Internal Server Error\n")], id="failed"),
        pytest.param(accept_and_fail, [("accept", None), ("close", 1011, None)], id="failed later"),
    ],
)
def test_listener(function, calls):
    adapter = ScriptedAdapter()
    try:
        WebSocketRequest.listener(function)(environment(adapter))
    except KeyError:
        assert function in (fail, accept_and_fail)
    assert adapter.calls == calls
