"""Exchanges through hooks without any I/O: who is asked, in which order, and what comes of it."""

import gzip

import pytest
from memory_upstream import URL, Proxied, Upstream, answer
from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Response as WerkzeugResponse

from rolo import Request, Response
from rolo.errors import (
    BodyTooLarge,
    ConnectError,
    HookError,
    PartOfBody,
    RetryRefused,
    UpstreamClosed,
)
from rolo.proxy import Hooks, ProxyHandler, takes_parts
from rolo.proxy.hooks.context import MAX_TRIES

DOCUMENT = [(b"Content-Type", b"application/json")]


class Noting(Hooks):
    """Notes each phase under its own name, in ``notes``."""

    def __init__(self, name, notes):
        for phase in (
            *("on_request", "on_outgoing", "on_request_chunk", "on_response"),
            *("on_response_chunk", "on_trailers", "on_finished"),
        ):
            setattr(self, phase, self._noting(f"{phase} {name}", notes))

    def _noting(self, text, notes):
        return lambda context, *_: notes.append((text, context.phase))


# --- who is asked -----------------------------------------------------------------------


def test_the_way_out_goes_through_the_hooks_in_order_and_the_way_back_in_reverse():
    notes = []
    proxied = Proxied(Noting("a", notes), Noting("b", notes))
    assert proxied.ask("POST", body=b"x").whole == b"ok"
    assert [text for text, _ in notes] == [
        *("on_request a", "on_request b", "on_outgoing a", "on_outgoing b"),
        *("on_request_chunk a", "on_request_chunk b", "on_response b", "on_response a"),
        *("on_response_chunk b", "on_response_chunk a", "on_trailers b", "on_trailers a"),
        *("on_finished b", "on_finished a"),
    ]
    assert all(text.startswith(phase) for text, phase in notes)


def test_who_answers_is_the_last_to_be_asked():
    notes = []
    first, last = Noting("first", notes), Noting("last", notes)
    proxied = Proxied(first, last, on_request=lambda context: Response("mine", 201))
    # Functions stand behind the classes.
    assert (proxied.ask().status_code, proxied.upstream.requests) == (201, [])
    assert [text for text, _ in notes] == [
        *("on_request first", "on_request last"),
        *("on_finished last", "on_finished first"),
    ]


@pytest.mark.parametrize("phase", ["on_request", "on_outgoing", "on_response"])
@pytest.mark.parametrize("kind", [Response, WerkzeugResponse])
def test_an_answer_of_a_hook_is_the_answer(phase, kind):
    def answers(context, *_):
        return kind("mine", status=418)

    proxied = Proxied(**{phase: answers})
    response = proxied.ask()
    assert (response.status_code, response.whole) == (418, b"mine")
    assert proxied.told.end == ("answered", 418, 0, 4)
    if phase == "on_response":
        assert proxied.upstream.answers[0].body.closed == 1
    else:
        assert proxied.upstream.requests == []


def test_a_stream_that_a_hook_answers_is_counted_as_it_is_sent():
    proxied = Proxied(on_request=lambda context: Response(iter([b"one", b"", b"three"])))
    assert proxied.ask().whole == b"onethree"
    assert proxied.told.end == ("answered", 200, 0, 8)
    assert proxied.told.times == 1


def test_what_is_no_response_is_no_answer():
    proxied = Proxied(on_request=lambda context: "text")
    error = proxied.ask()
    assert type(error) is HookError
    assert error.phase.startswith("on_request of ")
    assert proxied.told.end == ("refused", 500, 0, 0)


@pytest.mark.parametrize("phase", ["on_request", "on_outgoing", "on_request_chunk", "on_response"])
def test_what_a_hook_raises_refuses_the_exchange_by_its_name(phase, caplog):
    def fails(context, *_):
        raise ValueError("on purpose")

    proxied = Proxied(**{phase: fails})
    error = proxied.ask("POST", body=b"x")
    assert type(error) is HookError
    assert phase in error.phase
    assert proxied.told.end[:2] == ("refused", 500)
    assert type(proxied.told.context.error) is HookError
    if phase == "on_response":
        assert proxied.upstream.answers[0].body.closed == 1
    assert f"{phase} of " in caplog.text
    assert "raised ValueError: on purpose" in caplog.text


def test_an_http_error_that_a_hook_raises_is_its_answer():
    def forbids(context):
        raise Forbidden

    proxied = Proxied(on_request=forbids)
    with pytest.raises(Forbidden):
        proxied.ask()
    assert proxied.told.end == ("answered", 403, 0, 0)


# --- errors and other tries -------------------------------------------------------------


def refused():
    return ConnectError("refused", target=URL)


def test_an_upstream_that_cannot_be_reached_may_be_replaced_by_another():
    seen = []

    def elsewhere(context, error):
        seen.append((context.tries, error, context.error, context.phase))
        context.upstream = f"http://other{context.tries}.test/base"

    first, second = refused(), refused()
    proxied = Proxied(on_connect_failed=elsewhere, answers=[first, second, answer(b"at last")])
    assert proxied.ask(path="/x", raw_path="/x", query_string="y").whole == b"at last"
    assert seen == [
        (1, first, first, "on_connect_failed"),
        (2, second, second, "on_connect_failed"),
    ]
    assert [str(each.origin) for each in proxied.upstream.requests] == [
        *(URL, "http://other1.test", "http://other2.test")
    ]
    assert proxied.upstream.last.target == b"/base/x?y"
    assert (proxied.told.context.tries, proxied.told.context.error) == (3, None)
    assert proxied.told.end == ("complete", 200, 0, 7)


def test_without_a_decision_the_error_stands():
    proxied = Proxied(on_connect_failed=lambda context, error: None, answers=[error := refused()])
    assert proxied.ask() is error
    assert proxied.told.end == ("refused", 502, 0, 0)
    assert proxied.told.context.error is error


def test_other_upstreams_are_tried_up_to_a_bound():
    def elsewhere(context, error):
        context.upstream = f"http://other{context.tries}.test"

    proxied = Proxied(on_connect_failed=elsewhere, answers=[refused()])
    assert type(proxied.ask()) is ConnectError
    assert len(proxied.upstream.requests) == MAX_TRIES


def test_a_hook_may_answer_for_an_upstream_that_cannot_be_reached():
    proxied = Proxied(
        on_connect_failed=lambda context, error: Response("away", 503), answers=[refused()]
    )
    assert proxied.ask().status_code == 503
    assert proxied.told.end == ("answered", 503, 0, 4)


def test_an_answer_may_be_dropped_for_another_try():
    seen = []

    def again(context, response):
        seen.append((response.status, context.can_retry()))
        if response.status == 503:
            context.retry("http://other.test", "/elsewhere")

    busy = answer(b"busy", status=503)
    proxied = Proxied(on_response=again, answers=[busy, answer(b"ok")])
    assert proxied.ask().whole == b"ok"
    assert seen == [(503, True), (200, True)]
    assert busy.body.closed == 1
    assert proxied.upstream.last.target == b"/elsewhere"
    assert str(proxied.upstream.last.origin) == "http://other.test"
    assert proxied.told.end == ("complete", 200, 0, 2)


def test_an_error_may_be_followed_by_another_try_or_an_answer():
    def again(context, error):
        if context.tries == 1:
            return context.retry()
        return Response("sorry", 504)

    first = UpstreamClosed("gone", target=URL)
    first.retry_safe = True
    proxied = Proxied(on_error=again, answers=[first, UpstreamClosed("gone", target=URL)])
    assert proxied.ask("POST", body=b"kept").status_code == 504
    assert proxied.upstream.bodies == [b"kept", b"kept"]
    assert proxied.told.end == ("refused", 504, 4, 0)


def test_what_may_have_been_carried_out_is_not_done_twice_but_on_demand():
    def again(context, response):
        if context.tries == 1:
            assert not context.can_retry()
            assert context.can_retry(unsafe=True)
            with pytest.raises(RetryRefused, match="POST may have been carried out"):
                context.retry()
            assert not context.again
            context.retry(unsafe=True)

    proxied = Proxied(on_response=again)
    assert proxied.ask("POST", body=b"x").whole == b"ok"
    assert len(proxied.upstream.requests) == 2


def test_one_request_is_sent_ten_times_at_most():
    def again(context, response):
        context.retry()

    proxied = Proxied(on_response=again)
    error = proxied.ask()
    assert type(error) is RetryRefused
    assert "sent 10 times already" in str(error)
    assert len(proxied.upstream.requests) == 10


def test_another_try_is_decided_where_something_has_failed_or_come():
    def too_early(context):
        assert not context.can_retry()
        with pytest.raises(RuntimeError, match="a retry is decided in"):
            context.retry()

    assert Proxied(on_request=too_early).ask().whole == b"ok"


def test_where_a_request_goes_is_settled_when_it_goes():
    def too_late(context, *_):
        for name in ("upstream", "path"):
            with pytest.raises(RuntimeError, match=f"the {name} is settled before"):
                setattr(context, name, URL)

    assert Proxied(on_outgoing=too_late, on_response=too_late).ask().whole == b"ok"


def test_a_hook_chooses_upstream_and_path_and_is_told_what_they_are():
    def choose(context):
        assert (str(context.upstream.origin), context.path) == (URL, "/a%20b")
        context.path = "/c%20d"
        context.upstream = "http://other.test/base"
        assert (str(context.upstream.origin), context.path) == ("http://other.test", "/c%20d")

    proxied = Proxied(on_request=choose)
    proxied.ask(path="/a b", raw_path="/a%20b", query_string="q=1")
    assert proxied.upstream.last.target == b"/base/c%20d?q=1"


# --- what the context knows -------------------------------------------------------------


def test_the_context_fills_as_the_exchange_goes_on():
    seen = []

    def look(context, *_):
        seen.append(
            (
                context.phase,
                context.outbound is not None,
                context.response is not None,
                context.outcome,
                context.seconds_to_head is not None,
                context.tries,
            )
        )
        assert context.outbound is context.outbound

    phases = ("on_request", "on_outgoing", "on_response", "on_finished")
    proxied = Proxied(**dict.fromkeys(phases, look))
    proxied.ask()
    assert seen == [
        ("on_request", False, False, "", False, 0),
        ("on_outgoing", True, False, "", False, 1),
        ("on_response", True, True, "", True, 1),
        ("on_finished", True, True, "complete", True, 1),
    ]
    context = proxied.told.context
    assert 0 <= context.seconds_to_head <= context.seconds <= context.elapsed()
    assert (context.portal, context.client_gone) == (None, False)


def test_bodies_are_counted_both_ways():
    proxied = Proxied(answers=[answer(b"one", b"", b"three")])
    assert proxied.ask("POST", body=b"12345").whole == b"onethree"
    assert proxied.told.end == ("complete", 200, 5, 8)
    assert proxied.told.times == 1


@pytest.mark.parametrize(
    ("pieces", "outcome"),
    [((b"one", UpstreamClosed("broken", target=URL)), "aborted"), ((b"one", b"two"), "complete")],
)
def test_how_an_answer_ended_is_told(pieces, outcome):
    proxied = Proxied(answers=[answer(*pieces)])
    response = proxied.ask()
    assert isinstance(response.whole, Exception) == (outcome == "aborted")
    assert proxied.told.end[0] == outcome
    assert (proxied.told.context.error is None) == (outcome == "complete")


def test_an_answer_that_nobody_reads_is_told_as_unread():
    proxied = Proxied()
    proxied.handler.proxy.forward(Request("GET", "/")).close()
    assert proxied.told.end == ("unread", 200, 0, 0)
    assert proxied.upstream.answers[0].body.closed


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_an_answer_without_a_body_is_complete_with_its_head(method, status):
    proxied = Proxied(answers=[answer(status=status, length=False)])
    proxied.handler.proxy.forward(Request(method, "/")).close()
    assert proxied.told.end == ("complete", status, 0, 0)


def test_speaking_into_a_stream_needs_a_loop_a_stream_and_its_phase():
    said = []

    def ask(context, *_):
        with pytest.raises(RuntimeError) as caught:
            context.events  # noqa: B018
        said.append(str(caught.value))

    proxied = Proxied(on_request=ask, on_response=ask)
    proxied.ask()
    stream = [(b"Content-Type", b"text/event-stream; charset=utf-8")]
    Proxied(on_response=ask, answers=[answer(headers=stream)]).ask()
    Proxied(on_response=ask, answers=[answer(headers=stream, status=204)]).ask()
    assert ["to be asked for in on_response" in each for each in said] == [1, 0, 0, 0]
    assert ["no event stream" in each for each in said] == [0, 1, 0, 1]
    assert "without an event loop" in said[2]


# --- what is changed --------------------------------------------------------------------


def test_edits_of_the_head_go_both_ways():
    def out(context, outbound):
        assert (outbound.method, outbound.target) == ("GET", "/x")
        outbound.method, outbound.target = "PUT", "/y?z"
        outbound.headers["X-Out"] = "1"

    def back(context, response):
        assert (response.status, response.status_code, response.reason) == (200, 200, "OK")
        response.status_code, response.reason = 203, "Edited"
        response.headers["X-Back"] = "1"
        assert (response.reused, response.retried) == (False, None)

    proxied = Proxied(on_outgoing=out, on_response=back)
    response = proxied.ask(path="/x")
    assert (proxied.upstream.last.method, proxied.upstream.last.target) == ("PUT", b"/y?z")
    assert proxied.upstream.field(b"x-out") == [b"1"]
    assert (response.status, response.headers["X-Back"]) == ("203 Edited", "1")
    assert proxied.told.end[1] == 203


@pytest.mark.parametrize("here", [False, True])
def test_a_body_that_is_changed_has_the_length_that_it_is_sent_with(here):
    given = answer(b"one", b"two", here=here, headers=[(b"ETag", b'"x"'), (b"Digest", b"y")])
    proxied = Proxied(on_response_chunk=lambda context, piece: piece * 2, answers=[given])
    response = proxied.ask()
    assert response.whole == (b"onetwoonetwo" if here else b"oneonetwotwo")
    assert response.headers.get("Content-Length") == ("12" if here else None)
    assert response.headers["ETag"] == 'W/"x"'
    assert "Digest" not in response.headers
    assert given.body.closed == 1
    assert proxied.told.end == ("complete", 200, 0, 12)


def test_a_weak_etag_stays_as_it_is():
    proxied = Proxied(
        on_response=lambda context, response: response.set_data("x"),
        answers=[answer(headers=[(b"ETag", b'W/"x"')])],
    )
    assert proxied.ask().headers["ETag"] == 'W/"x"'


def test_a_request_body_that_is_changed_has_the_length_that_it_is_sent_with():
    proxied = Proxied(on_request_chunk=lambda context, piece: [piece, b"!"])
    proxied.ask("POST", body=b"one", headers={"Content-MD5": "x"})
    assert proxied.upstream.bodies == [b"one!"]
    assert proxied.upstream.last.length in (None, 4)
    assert proxied.upstream.field(b"content-md5") == []


def test_what_is_coded_is_decoded_for_hooks_and_coded_again():
    coded = [(b"Content-Encoding", b"gzip")]
    seen = []

    def upper(context, piece):
        seen.append(piece)
        return piece.upper()

    given = answer(gzip.compress(b"body"), here=True, headers=coded)
    proxied = Proxied(on_response_chunk=upper, on_request_chunk=upper, answers=[given])
    response = proxied.ask(
        "POST", body=gzip.compress(b"upload"), headers={"Content-Encoding": "gzip"}
    )
    assert gzip.decompress(response.whole) == b"BODY"
    assert int(response.headers["Content-Length"]) == len(response.whole)
    assert gzip.decompress(proxied.upstream.bodies[0]) == b"UPLOAD"
    assert (b"".join(seen[:1]), b"".join(seen[1:])) == (b"upload", b"body")


def test_hooks_on_bodies_ask_only_for_what_they_can_change():
    asked = {"Accept-Encoding": "gzip, made-up;q=0.5", "Range": "bytes=0-1", "If-Range": '"x"'}
    proxied = Proxied(on_response_chunk=lambda context, piece: None)
    proxied.ask(headers=asked)
    assert proxied.upstream.field(b"accept-encoding") == [b"gzip"]
    assert proxied.upstream.field(b"range") == proxied.upstream.field(b"if-range") == []
    proxied = Proxied(on_response_chunk=takes_parts(lambda context, piece: None))
    proxied.ask(headers=asked)
    assert proxied.upstream.field(b"range") == [b"bytes=0-1"]
    proxied = Proxied(on_response=lambda context, response: None)
    proxied.ask(headers=asked)
    assert proxied.upstream.field(b"accept-encoding") == [b"gzip, made-up;q=0.5"]
    proxied = Proxied(on_response_chunk=lambda context, piece: None)
    proxied.ask(headers={"Accept-Encoding": "made-up"})
    assert proxied.upstream.field(b"accept-encoding") == [b"identity"]


def test_a_part_of_a_body_does_not_pass_what_changes_whole_ones():
    part = {"status": 206, "headers": [(b"Content-Range", b"bytes 0-1/9")]}
    for hook, passes in [
        (lambda context, piece: piece, False),
        (takes_parts(lambda context, piece: piece), True),
    ]:
        proxied = Proxied(on_response_chunk=hook, answers=[answer(b"pa", **part)])
        response = proxied.ask()
        if passes:
            assert (response.whole, response.headers["Content-Range"]) == (b"pa", "bytes 0-1/9")
        else:
            assert type(response) is PartOfBody

    def whole(context, response):
        with pytest.raises(PartOfBody):
            response.set_data("all of it")
        response.status = 200
        response.set_data("all of it")

    response = Proxied(on_response=whole, answers=[answer(b"pa", **part)]).ask()
    assert (response.status_code, response.whole) == (200, b"all of it")
    assert "Content-Range" not in response.headers


def test_documents_are_read_changed_and_put_in_place():
    def change(context, response):
        assert response.json() == {"a": 1}
        assert response.text() == '{"a": 1}'
        assert response.read() == response.data == b'{"a": 1}'
        assert not response.is_rewritten
        response.transform_json(lambda document: {**document, "b": 2})
        assert response.is_rewritten
        response.transform_text(lambda text: text.replace("2", "3"))
        response.transform(lambda piece: piece + b"\n")

    for here in (False, True):
        given = answer(b'{"a"', b": 1}", here=here, headers=DOCUMENT)
        response = Proxied(on_response=change, answers=[given]).ask()
        assert response.whole == b'{"a": 1, "b": 3}\n'
        assert response.headers["Content-Length"] == "17"
        assert given.body.closed == 1


def test_a_document_that_is_put_where_there_was_none_says_its_type():
    given = answer(b"x", headers=[(b"Content-Type", b"text/plain; charset=latin-1")])
    response = Proxied(
        on_response=lambda context, response: response.set_json({"\xe4": 1}), answers=[given]
    ).ask()
    assert response.headers["Content-Type"] == "application/json"
    assert "charset" not in response.headers["Content-Type"]


def test_a_body_that_is_longer_than_may_be_read_is_sent_all_the_same():
    def read(context, subject):
        with pytest.raises(BodyTooLarge):
            subject.read(limit=5)
        return

    given = answer(b"123", b"456", b"789")
    proxied = Proxied(on_response=read, on_outgoing=read, answers=[given])
    assert proxied.ask("POST", body=b"abcdef").whole == b"123456789"
    assert proxied.upstream.bodies == [b"abcdef"]
    given = answer(b"12345")
    exactly = Proxied(
        on_response=lambda context, response: response.set_data(response.read(limit=5) + b"6"),
        answers=[given],
    )
    assert exactly.ask().whole == b"123456"


def test_a_tap_sees_what_passes_and_changes_nothing():
    seen = []
    given = answer(b"one", b"", b"two")
    proxied = Proxied(
        on_outgoing=lambda context, outbound: outbound.tap(seen.append),
        on_response=lambda context, response: response.tap(seen.append),
        answers=[given],
    )
    response = proxied.ask("POST", body=b"up")
    assert response.whole == b"onetwo"
    assert response.headers["Content-Length"] == "6"
    assert seen == [b"up", b"one", b"two"]
    assert given.body.closed


def test_trailers_are_edited_behind_the_body_and_keep_it_from_being_sent_in_one():
    def edit(context, trailers):
        trailers["X-Sum"] = trailers["X-Sum"] + "!"

    given = answer(b"body", here=True, trailers=[(b"X-Sum", b"1")], length=False)
    proxied = Proxied(on_trailers=edit, answers=[given])
    forwarded = proxied.handler.proxy.forward(Request("GET", "/"))
    body = forwarded._untouched_answer.body
    assert body.read_whole_nowait() is None
    assert body.trailers == []
    assert b"".join(body) == b"body"
    assert body.trailers == [(b"X-Sum", b"1!")]
    forwarded.close()


def test_events_are_shown_one_by_one_and_those_unchanged_pass_as_they_came():
    stream = [(b"Content-Type", b"text/event-stream")]
    pieces = (b"data:1\n\n", b": only a comment\n\n", b"data: 2\n\n", b"data: 3\n\n")

    def change(context, event):
        if event.data == "2":
            event.data = "two"
        return [] if event.data == "3" else event

    for headers, expected in [
        (stream, b"data:1\n\n: only a comment\n\ndata: two\n\n"),
        ([], b"".join(pieces)),
    ]:
        proxied = Proxied(on_event=change, answers=[answer(*pieces, headers=headers)])
        assert proxied.ask().whole == expected


# --- how hooks are put in place ---------------------------------------------------------


def test_hooks_are_exchanged_for_the_exchanges_that_follow():
    proxied = Proxied(on_response=lambda context, response: response.set_data("one"))
    assert proxied.ask().whole == b"one"
    proxied.handler.proxy.use(on_response=lambda context, response: response.set_data("two"))
    assert proxied.ask().whole == b"two"
    proxied.handler.proxy.use()
    assert proxied.handler.proxy.phases is None
    assert proxied.ask().whole == b"ok"


def test_a_client_of_ones_own_is_left_open_and_one_that_was_made_is_closed(monkeypatch):
    closed = []
    monkeypatch.setattr(Upstream, "close", lambda self: closed.append(self))
    upstream = Upstream()
    ProxyHandler(URL, upstream).close()
    assert closed == []
    handler = ProxyHandler(URL)
    monkeypatch.setattr(type(handler.proxy.client), "close", lambda self: closed.append(self))
    handler.close()
    assert closed == [handler.proxy.client]
