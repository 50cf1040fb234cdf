"""Which recorded answer a request gets, without a server."""

import pytest

from rolo import Request
from rolo.har import Answer, Entry, Player, Recording
from rolo.har.content import InMemory

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def entry(target="/", sent=b"", headers=(), method="GET"):
    return Entry(
        method, f"http://h{target}", [*dict(headers).items()], InMemory(sent), answer=Answer(200)
    )


def answered(recorded, match, target="/", sent=b"", headers=(), method="GET"):
    path, _, query = target.partition("?")
    player = Player(Recording([recorded]), match=match, pace="at_once")
    headers = {"Host": "other", **dict(headers)}
    request = Request(method, path, headers, sent, query_string=query, raw_path=path)
    return player.play(request).status_code == 200


@pytest.mark.parametrize(
    ("match", "body", "same"),
    [
        (["body"], b'{"b": [1, 2], "id": 7, "secret": "x"}', True),
        (["body"], b'{"id": 7, "b": [2, 1], "secret": "x"}', False),
        (["body"], b'{"id": 7, "b": [1, 2]}', False),
        (["json:$.id"], b'{"id": 7, "b": 0}', True),
        (["json:$.id"], b'{"id": 8, "b": [1, 2]}', False),
        (["json:$.id", "json:$.b[*]"], b'{"id": 7, "b": [1, 2], "c": 1}', True),
        (["json:$.id"], b"no JSON", False),
        (["json:$.none"], b'{"none": 1}', False),
        (["json:$.none"], b"{}", True),
        (["json:$..secret"], b'{"a": [{"secret": 1}]}', True),
        (["method"], b"", True),
    ],
)
def test_json_bodies_and_parts_of_them(match, body, same):
    recorded = entry(sent=b'{"id": 7, "b": [1,2], "secret": "REDACTED"}', headers=JSON)
    assert answered(recorded, match, sent=body, headers=JSON) is same


def test_where_no_json_was_sent_none_is_wanted():
    recorded = entry(sent=b"text")
    assert answered(recorded, ["json:$.id"], sent=b"other")
    assert answered(recorded, ["json:$.id"], sent=b'{"a": 1}')
    assert not answered(recorded, ["json:$.id"], sent=b'{"id": 1}')


@pytest.mark.parametrize(
    ("match", "target", "headers", "same"),
    [
        ("query", "/x?b=2&a=1&t=9", {}, True),
        ("query", "/x?a=1&b=2&t=9&c=3", {}, False),
        ("query:a", "/x?a=1&c=3", {}, True),
        ("query:a", "/x", {}, False),
        ("query:c", "/x?c=3", {}, False),
        ("path", "/x%20y", {}, True),
        ("path", "/%78%20y", {}, True),
        ("path", "/x%20y/", {}, False),
        ("host", "/", {}, False),
        ("host", "/", {"Host": "h"}, True),
        ("header:X-T", "/", {"x-t": "1"}, True),
        ("header:X-T", "/", {"x-t": "2"}, False),
        ("header:X-S", "/", {"x-s": "2"}, False),
        ("header:Authorization", "/", {"Authorization": "Bearer x"}, True),
        ("header:Authorization", "/", {}, False),
        ("cookie:c", "/", {"Cookie": "d=1; c=2"}, True),
        ("cookie:c", "/", {}, False),
        ("cookie:s", "/", {"Cookie": "s=3"}, True),
    ],
)
def test_what_a_request_is_known_by(match, target, headers, same):
    fields = {"X-T": "1", "Cookie": "c=2; s=REDACTED", "Authorization": "Bearer REDACTED"}
    recorded = entry("/x%20y?a=1&b=2&t=REDACTED", headers=fields)
    assert answered(recorded, [match], target, headers=headers) is same


def test_fields_of_forms():
    recorded = entry(sent=b"a=1&b=2&token=REDACTED", headers=FORM)
    assert answered(recorded, ["body"], sent=b"token=x&b=2&a=1", headers=FORM)
    assert not answered(recorded, ["body"], sent=b"token=x&a=1", headers=FORM)
    assert answered(recorded, ["form:a"], sent=b"a=1", headers=FORM)
    assert not answered(recorded, ["form:a"], sent=b"a=2", headers=FORM)


def test_multipart_forms_are_the_same_whatever_their_boundary():
    def multipart(boundary, value=b"1"):
        line = f"--{boundary}".encode()
        name = b"Content-Disposition: form-data; name=a"
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        body = b"\r\n".join([line, name, b"", value, line + b"--", b""])
        return {"sent": body, "headers": headers}

    recorded = entry(**multipart("one"))
    assert answered(recorded, ["body"], **multipart("two"))
    assert not answered(recorded, ["body"], **multipart("two", b"2"))
    assert answered(entry(**multipart("one", b"REDACTED")), ["body"], **multipart("two", b"2"))


def test_a_body_that_is_not_in_the_recording_is_not_compared():
    recorded = entry()
    recorded.body = None
    assert answered(recorded, ["body"], sent=b"anything")


def test_a_recorded_get_will_do_for_head_but_not_in_the_place_of_a_recorded_head():
    assert answered(entry(), ["method"], method="HEAD")
    get, head = entry(), entry(method="HEAD")
    head.answer.status = 204
    player = Player(Recording([get, head]), pace="at_once")
    assert player.play(Request("HEAD", "/")).status_code == 204


@pytest.mark.parametrize("wrong", ["paths", "json:", "json:$[", "host:x", "query:"])
def test_nobody_knows_what_to_match_by(wrong):
    with pytest.raises(ValueError, match=r"JSON path|matched by"):
        Player(Recording(), match=[wrong])


@pytest.mark.parametrize(
    "wrong", [{"pace": "fast"}, {"pace": 0}, {"pace": True}, {"missing": "x"}, {"repeat": "x"}]
)
def test_what_a_player_cannot_be_told(wrong):
    with pytest.raises(ValueError, match="not"):
        Player(Recording(), **wrong)
