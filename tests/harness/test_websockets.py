"""Scripts on websockets, judged by a client of raw frames."""

import pytest
from websocket_origin import BINARY, Client

from rolo.harness import Harness, Unverified, close, expect, gate, pause, replies, send, stay
from rolo.matching import contains


@pytest.fixture
def api():
    with Harness() as api:
        yield api


def connect(api, target="/chat", **options):
    return Client(api.url, target, **options)


def test_a_script_is_played(api):
    api.websocket("/chat").plays(
        send("hi"), expect("hello"), pause(0.001), send({"n": 1}), close(4001, "go")
    )
    with connect(api) as client:
        client.open()
        assert client.message() == "hi"
        client.text("hello")
        assert client.message() == '{"n": 1}'
        assert client.closing() == (4001, "go")
    record = api.received("WEBSOCKET", "/chat").once()
    assert (record.sent_messages, record.received_messages) == (["hi", '{"n": 1}'], ["hello"])
    assert record.closed == ("server", 4001, "go")
    assert record.messages[2].json == {"n": 1}
    assert record.status == 101


def test_after_the_last_step_the_websocket_is_closed(api):
    api.websocket("/chat").plays()
    with connect(api) as client:
        client.open()
        assert client.closing() == (1000, "")


def test_stay_leaves_it_open_until_the_client_closes(api):
    api.websocket("/chat").plays(stay())
    with connect(api) as client:
        client.open()
        client.text("a")
        client.close(4000, "mine")
        assert client.closing() == (4000, "mine")
    record = api.wait_for("WEBSOCKET", message="a").once().wait_ended()
    assert record.closed == ("client", 4000, "mine")


def test_a_gate_holds_the_next_message_back(api):
    api.websocket("/chat").plays(gate(), send("now"))
    with connect(api) as client:
        client.open()
        api.step()
        assert client.message() == "now"


@pytest.mark.parametrize(
    ("steps", "sent", "says"),
    [
        ([expect("a")], "b", 'wanted "a", got "b"'),
        ([send("x"), expect({"n": 1})], '{"n": 2}', "message.n: wanted 1, got 2"),
        ([expect("a", timeout=0.01)], None, "nothing came in 0.01 s"),
        ([replies(("a", "b"))], "c", 'no reply is for: "c"'),
    ],
)
def test_what_is_not_expected_closes_with_1008_and_fails_the_test(steps, sent, says):
    with Harness() as api:
        api.websocket("/chat").plays(*steps)
        with connect(api) as client:
            client.open()
            if sent is not None:
                client.text(sent)
            for _ in steps[:-1]:
                client.message()
            assert client.closing()[0] == 1008
        with pytest.raises(Unverified, match="step") as caught:
            api.verify()
        api.forgive()
    assert says in " ".join(str(caught.value).split())


def test_a_client_that_closes_where_something_is_expected_fails_the_test():
    with Harness() as api:
        api.websocket("/chat").plays(expect("a"))
        with connect(api) as client:
            client.open()
            client.close(1000)
            client.closing()
        with pytest.raises(Unverified, match="had closed"):
            api.verify()
        api.forgive()


def test_replies_are_chosen_by_what_came(api):
    api.websocket("/chat").plays(
        replies(
            ("ping", "pong"),
            (contains("sub"), ["a", "b"]),
            ({"op": "add", "n": int}, lambda message: {"got": message}),
            (bytes, None),
        )
    )
    with connect(api) as client:
        client.open()
        client.text("ping")
        assert client.message() == "pong"
        client.text("subscribe")
        assert [client.message(), client.message()] == ["a", "b"]
        client.text('{"op": "add", "n": 1}')
        assert client.message() == '{"got": "{\\"op\\": \\"add\\", \\"n\\": 1}"}'
        client.send(BINARY, b"x")
        client.close(1000)
        assert client.closing() == (1000, "")


def test_subprotocols_are_matched_and_chosen(api):
    api.websocket("/chat", subprotocol="v2").plays(send("two"))
    api.websocket("/chat").plays(send("other"), subprotocol="")
    offer = [("Sec-WebSocket-Protocol", "v2, v1")]
    with connect(api, headers=offer) as client:
        client.open()
        assert client.handshake.get("sec-websocket-protocol") == "v2"
        assert client.message() == "two"
    with connect(api) as client:
        client.open()
        assert client.handshake.get("sec-websocket-protocol") is None
        assert client.message() == "other"


def test_a_function_has_the_handshake_and_may_block(api):
    def talk(request, room):
        with request.accept() as websocket:
            websocket.send(f"welcome to {room}")
            websocket.send(websocket.receive().upper())

    api.websocket("/chat/<room>").calls(talk)
    with connect(api, "/chat/blue") as client:
        client.open()
        assert client.message() == "welcome to blue"
        client.text("hi")
        assert client.message() == "HI"


def test_a_handshake_is_refused_by_an_answer(api):
    api.websocket("/chat").returns(401, "who are you?", headers={"X-A": "1"})
    with connect(api) as client:
        answer = client.answer()
        assert (answer.status, answer.get("x-a"), answer.body) == (401, "1", b"who are you?")


def test_a_handshake_that_no_stub_matches_gets_the_miss():
    with Harness() as api:
        with connect(api) as client:
            answer = client.answer()
            assert answer.status == 404
            assert b"No stub matches WEBSOCKET /chat" in answer.body
        with pytest.raises(Unverified, match="No stub matches WEBSOCKET /chat"):
            api.verify()
        api.forgive()


def test_requests_are_none_of_a_websocket(api):
    api.any("/chat").returns(200).optional()
    with connect(api) as client:
        assert client.answer().status == 404
    api.forgive()
