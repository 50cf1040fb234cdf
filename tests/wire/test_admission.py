"""Which heads may enter, tried with values."""

import pytest

from rolo import errors
from rolo.wire.admission import Admitted, admit
from rolo.wire.http1 import Framing

HOST = (b"host", b"a")


def fields(*lines):
    return [tuple(line.split(b": ")) for line in lines]


@pytest.mark.parametrize(
    ("version", "lines", "expected"),
    [
        pytest.param("1.1", [], Admitted(Framing.NONE, None, False), id="no body"),
        pytest.param("1.1", [b"Content-Length: 0"], Admitted(Framing.LENGTH, 0, False), id="0"),
        pytest.param("1.1", [b"Content-Length: 7"], Admitted(Framing.LENGTH, 7, False), id="7"),
        pytest.param(
            "1.1", [b"transfer-encoding: Chunked"], Admitted(Framing.CHUNKED, None, False), id="chunks"
        ),
        pytest.param(
            "1.1",
            [b"content-length: 7", b"Expect: 100-Continue"],
            Admitted(Framing.LENGTH, 7, True),
            id="expect",
        ),
        pytest.param(
            "1.1", [b"expect: 100-continue"], Admitted(Framing.NONE, None, False), id="of no body"
        ),
        pytest.param(
            "1.0",
            [b"content-length: 7", b"expect: 100-continue"],
            Admitted(Framing.LENGTH, 7, False),
            id="expect of an old client",
        ),
        pytest.param("2", [], Admitted(None, None, False), id="HTTP/2 does not say"),
        pytest.param("2", [b"content-length: 7"], Admitted(Framing.LENGTH, 7, False), id="HTTP/2"),
    ],
)  # fmt: skip
def test_what_a_head_says_of_its_body(version, lines, expected):
    assert admit("POST", b"/", [HOST, *fields(*lines)], version) == expected


@pytest.mark.parametrize(
    ("version", "lines", "error"),
    [
        ("1.1", [b"content-length: 7", b"transfer-encoding: chunked"], errors.BadRequest),
        ("1.1", [b"content-length: 7", b"content-length: 7"], errors.BadRequest),
        ("1.1", [b"content-length: +7"], errors.BadRequest),
        ("1.1", [b"transfer-encoding: gzip"], errors.UnknownTransferCoding),
        ("1.1", [b"host: b"], errors.BadRequest),
        ("1.0", [b"transfer-encoding: chunked"], errors.BadRequest),
        ("2", [b"transfer-encoding: chunked"], errors.BadRequest),
        ("2.0", [], errors.HttpVersionNotSupported),
        ("0.9", [], errors.HttpVersionNotSupported),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_may_not_enter(version, lines, error):
    with pytest.raises(error):
        admit("POST", b"/", [HOST, *fields(*lines)], version)


def test_host_is_required_by_http_1_1_only():
    with pytest.raises(errors.BadRequest, match="no Host"):
        admit("GET", b"/", [], "1.1")
    assert admit("GET", b"/", [], "1.0").framing is Framing.NONE
    assert admit("GET", b"/", [], "2").framing is None


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"a, b", b"[::1", b"a:x"])
def test_a_malformed_host_may_not_enter(host):
    with pytest.raises(errors.BadRequest, match="Host"):
        admit("GET", b"/", [(b"Host", host)], "1.1")


def test_connect_may_not_enter():
    with pytest.raises(errors.UnusableMethod) as caught:
        admit("CONNECT", b"/", [HOST], "1.1")
    assert caught.value.status == 501


@pytest.mark.parametrize("target", [b"/a#b", b"/a?b#c", b"/#", b"http://h/a#b"])
def test_a_target_with_a_fragment_is_refused(target):
    with pytest.raises(errors.BadRequest, match="fragment"):
        admit("GET", target, [HOST], "1.1")
