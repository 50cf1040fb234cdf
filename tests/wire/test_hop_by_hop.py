"""Which fields pass, which go, and which are added."""

import pytest

from rolo.proxy.forwarded_fields import ForwardedPolicy
from rolo.proxy.outgoing import outgoing_headers
from rolo.wire.hop_by_hop import end_to_end, response_headers
from rolo.wire.target import parse_upstream

ORIGIN = parse_upstream("http://origin:9000").origin


def pairs(text):
    """``"A: 1 | b: 2"`` as raw pairs."""
    return [
        tuple(p.strip().encode() for p in f.split(":", 1)) for f in text.split("|") if f.strip()
    ]


def text(headers):
    return " | ".join(f"{n.decode()}: {v.decode()}" for n, v in headers)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("A: 1 | b: 2 | A: 3", "A: 1 | b: 2 | A: 3"),
        ("A: 1 | Connection: close", "A: 1"),
        ("Connection: X-a | x-A: 1 | B: 2 | CONNECTION: keep-alive ,b", ""),
        ("Connection: | A: 1", "A: 1"),
        ("Connection: ,, ,a | A: 1", ""),
        ("Keep-Alive: timeout=5 | Proxy-Connection: x | A: 1", "A: 1"),
        ("Upgrade: h2c | Connection: Upgrade, HTTP2-Settings | HTTP2-Settings: x", ""),
        ("Transfer-Encoding: chunked | A: 1", "A: 1"),
        ("Proxy-Authorization: x | Proxy-Authenticate: y | Authorization: z", "Authorization: z"),
        ("Proxy-Authentication-Info: x | Authentication-Info: y", "Authentication-Info: y"),
        ("Connection: content-encoding, content-range | Content-Encoding: gzip | Content-Range: x",
         "Content-Encoding: gzip | Content-Range: x"),
        ("Connection: " + "a" * 80 + ",b | " + "A" * 80 + ": 1 | b: 2 | c: 3", "c: 3"),
        ("Trailer: X-Sum", "Trailer: X-Sum"),
        ("Connection: host, content-length, content-type | Host: a | Content-Length: 1",
         "Host: a | Content-Length: 1"),
        ("TE: gzip", ""),
        ("A: 1 | te: gzip;q=0.5, Trailers;q=1", "A: 1 | te: trailers"),
        ("TE: trailers | Connection: TE", "TE: trailers"),
        ("TE: gzip | TE: trailers | TE: trailers", "TE: trailers"),
        ("TE: xtrailers", ""),
        ("Set-Cookie: a | Set-Cookie: b | Connection: x", "Set-Cookie: a | Set-Cookie: b"),
    ],
)  # fmt: skip
def test_hop_by_hop_fields_go(before, after):
    headers = pairs(before)
    assert text(end_to_end(headers)) == after
    assert text(response_headers(headers)) == after
    assert headers == pairs(before)


def test_what_passes_is_not_edited_but_copied():
    headers = pairs("A: 1")
    with pytest.raises(TypeError, match="make a list"):
        end_to_end(headers).append((b"B", b"2"))
    assert list(end_to_end(headers)) == headers == pairs("A: 1")


def test_content_length_stays_or_goes():
    headers = pairs("Content-Length: 1 | A: 1")
    assert end_to_end(headers) == headers
    assert end_to_end(headers, keep_length=False) == pairs("A: 1")


def apply(before, policy=None, **kwargs):
    policy = policy or ForwardedPolicy()
    args = {"client": "10.0.0.1", "scheme": "http", "host": b"h:1"} | kwargs
    return text(policy.apply(pairs(before), **args))


NEW = "X-Forwarded-For: 10.0.0.1 | X-Forwarded-Proto: http | X-Forwarded-Host: h:1"


def test_by_default_all_three_are_added():
    assert apply("A: 1") == f"A: 1 | {NEW}"


def test_the_address_is_appended_and_the_rest_left():
    before = "x-forwarded-for: 1.1.1.1 | A: 1 | X-Forwarded-Proto: https | X-Forwarded-Host: x"
    assert apply(before) == (
        "x-forwarded-for: 1.1.1.1, 10.0.0.1 | A: 1 | X-Forwarded-Proto: https | X-Forwarded-Host: x"
    )


def test_several_lines_become_one_value():
    before = "A: 1 | X-Forwarded-For: 1.1.1.1, 2.2.2.2 | B: 2 | x-forwarded-for: 3.3.3.3"
    assert apply(before).startswith(
        "A: 1 | X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1 | B: 2 | X-Forwarded-Proto"
    )
    assert apply("X-Forwarded-For:").startswith("X-Forwarded-For: 10.0.0.1 |")


def test_off_adds_nothing_and_removes_nothing():
    before = "X-Forwarded-For: 1.1.1.1 | Forwarded: for=x"
    policy = ForwardedPolicy(mode="off", forwarded=True, via="rolo")
    assert apply(before, policy) == before


HEARSAY = (
    "X-Forwarded-For: 1.1.1.1 | A: 1 | X-Forwarded-Proto: https | X-FORWARDED-HOST: x | "
    "Forwarded: for=x | X-Forwarded-Port: 1 | X-Forwarded-Prefix: /p | X-Forwarded-Server: s"
)


@pytest.mark.parametrize(
    ("policy", "client", "believed"),
    [
        (ForwardedPolicy(mode="replace"), "10.0.0.1", False),
        (ForwardedPolicy.trusting("10.0.0.0/8"), "10.0.0.1", True),
        (ForwardedPolicy.trusting("10.0.0.0/8"), "::ffff:10.0.0.1", True),
        (ForwardedPolicy.trusting("10.0.0.0/8"), "11.0.0.1", False),
        (ForwardedPolicy.trusting("10.0.0.0/8", "::1"), "::1", True),
        (ForwardedPolicy.trusting("fe80::/10"), "fe80::1%eth0", True),
        (ForwardedPolicy.trusting("fe80::/10"), "testclient", False),
        (ForwardedPolicy.trusting("0.0.0.0/0"), None, False),
    ],
)
def test_only_trusted_clients_are_believed(policy, client, believed):
    for _ in range(2):
        after = apply(HEARSAY, policy, client=client)
        assert ("1.1.1.1" in after) is believed
        assert ("https" in after) is believed
        assert ("Forwarded: for=x" in after) is believed
        for name in ("Port", "Prefix", "Server"):
            assert (f"X-Forwarded-{name}" in after) is believed
        assert after.lower().count("x-forwarded-host") == 1
        assert ("X-Forwarded-For" in after) is (client is not None)
        if client:
            assert client in after


def test_forwarded_is_written_as_in_rfc_7239():
    policy = ForwardedPolicy(forwarded=True)
    assert apply("", policy).endswith('| Forwarded: for=10.0.0.1;proto=http;host="h:1"')
    assert apply("Forwarded: for=a", policy, client="::1", host=None).startswith(
        'Forwarded: for=a, for="[::1]";proto=http |'
    )
    assert apply("", policy, client=None, host=b'"').endswith(
        'Forwarded: for=unknown;proto=http;host="\\""'
    )


def test_via_is_added_as_a_line_of_its_own():
    policy = ForwardedPolicy(via="rolo")
    assert apply("Via: 1.1 a", policy, http_version="1.0").endswith("| Via: 1.0 rolo")


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="unknown mode"):
        ForwardedPolicy(mode="on")
    with pytest.raises(ValueError, match="Via"):
        ForwardedPolicy(via="a\r\nb")
    with pytest.raises(ValueError, match="does not appear to be"):
        ForwardedPolicy.trusting("nonsense")


def test_outgoing_host():
    headers = pairs("A: 1 | hOst: client:1 | Connection: host")
    assert text(outgoing_headers(headers, ORIGIN)) == "A: 1 | hOst: client:1"
    replaced = outgoing_headers(headers, ORIGIN, preserve_host=False, policy=ForwardedPolicy())
    assert text(replaced) == (
        "A: 1 | hOst: origin:9000 | X-Forwarded-Proto: http | X-Forwarded-Host: client:1"
    )
    assert text(outgoing_headers(pairs("A: 1"), ORIGIN)) == "Host: origin:9000 | A: 1"


def test_the_authority_of_an_absolute_target_outranks_host():
    headers = pairs("Host: a | A: 1")
    sent = outgoing_headers(headers, ORIGIN, host=b"b", policy=ForwardedPolicy())
    assert text(sent) == "Host: b | A: 1 | X-Forwarded-Proto: http | X-Forwarded-Host: b"


def test_outgoing_fields_hold_no_framing_and_nothing_invented():
    headers = pairs(
        "Host: a | Content-Length: 3 | Transfer-Encoding: chunked | Expect: 100-continue | "
        "under_score: 1 | Empty:"
    )
    assert text(outgoing_headers(headers, ORIGIN)) == (
        "Host: a | Expect: 100-continue | under_score: 1 | Empty: "
    )


def test_a_nominated_field_that_we_add_is_added_after_all():
    headers = pairs("Host: a | X-Forwarded-For: 6.6.6.6 | Connection: x-forwarded-for")
    sent = outgoing_headers(headers, ORIGIN, policy=ForwardedPolicy(), client="10.0.0.1")
    assert text(sent) == (
        "Host: a | X-Forwarded-For: 10.0.0.1 | X-Forwarded-Proto: http | X-Forwarded-Host: a"
    )


@pytest.mark.parametrize("name", ["For", "Proto", "Host", "Port", "Prefix", "Server"])
def test_one_claim_alone_is_removed_too(name):
    after = apply(f"X-Forwarded-{name}: claimed", ForwardedPolicy(mode="replace"))
    assert sorted(after.split(" | ")) == sorted(NEW.split(" | "))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Host: a | TE: gzip | A: 1", "Host: a | A: 1"),
        ("Host: a | te: trailers", "Host: a | te: trailers"),
    ],
)
def test_te_goes_on_for_trailers_only(before, after):
    assert text(outgoing_headers(pairs(before), ORIGIN)) == after


def test_only_blanks_and_tabs_stand_beside_the_names_in_connection():
    fields = [(b"X-A", b"1"), (b"X-B", b"2"), (b"Connection", b" \tx-a\t ,\x0bx-b")]
    assert end_to_end(fields) == [(b"X-B", b"2")]
