"""Upstream URLs and request targets: nothing is normalised, what is broken is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolo.errors import BadRequest
from rolo.wire.target import Origin, TargetForm, join_target, parse_upstream, split_target


@pytest.mark.parametrize(
    ("url", "origin", "base", "authority"),
    [
        ("http://localhost", Origin("http", "localhost", 80), b"", "localhost"),
        ("http://localhost:80/", Origin("http", "localhost", 80), b"", "localhost"),
        ("http://localhost:8080", Origin("http", "localhost", 8080), b"", "localhost:8080"),
        ("HTTPS://Example.COM/a/b/", Origin("https", "example.com", 443), b"/a/b", "example.com"),
        ("https://h:80/a%2Fb", Origin("https", "h", 80), b"/a%2Fb", "h:80"),
        ("ws://h:1", Origin("http", "h", 1), b"", "h:1"),
        ("wss://h", Origin("https", "h", 443), b"", "h"),
        ("http://127.0.0.1:5", Origin("http", "127.0.0.1", 5), b"", "127.0.0.1:5"),
        ("http://[::1]:8080/x", Origin("http", "::1", 8080), b"/x", "[::1]:8080"),
        ("http://[::1]", Origin("http", "::1", 80), b"", "[::1]"),
        ("http://b\xfccher.example", Origin("http", "xn--bcher-kva.example", 80), b"",
         "xn--bcher-kva.example"),
        ("http://h/\xe4//b", Origin("http", "h", 80), b"/%C3%A4//b", "h"),
        ("http+unix://%2Frun%2Fapp.sock/base", Origin("http", "localhost", 80, "/run/app.sock"),
         b"/base", "localhost"),
        ("https+unix://%2Ftmp%2Fx", Origin("https", "localhost", 443, "/tmp/x"), b"", "localhost"),
    ],
)  # fmt: skip
def test_upstream_urls(url, origin, base, authority):
    upstream = parse_upstream(url)
    assert upstream.origin == origin
    assert hash(upstream.origin) == hash(origin)
    assert upstream.base_path == base
    assert origin.authority == authority
    assert origin.authority_bytes == authority.encode()
    assert origin.tls is (origin.scheme == "https")
    assert parse_upstream(str(upstream)) == upstream


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("localhost:8080", "no scheme; did you mean 'http://localhost:8080'"),
        ("", "no scheme"),
        ("/a", "no scheme"),
        ("ftp://h", "unknown scheme 'ftp'"),
        ("http://", "no host"),
        ("http://:80", "no host"),
        ("http:///a", "no host"),
        ("http://h:x", "bad port 'x'"),
        ("http://h:0", "bad port '0'"),
        ("http://h:65536", "bad port '65536'"),
        ("http://h:99999999999", "bad port"),
        ("http://h:\u0663", "bad port"),
        ("http://h:1:2", "bad port '1:2'"),
        ("http://h?a=b", "query"),
        ("http://h/a?", "query"),
        ("http://h/#a", "fragment"),
        ("http://[::1", "malformed IPv6"),
        ("http://[::1]a", "malformed IPv6"),
        ("http://[nope]", "malformed IPv6"),
        ("http://a b", "malformed host"),
        ("http://a\\b", "malformed host"),
        ("http://h/a b", "blank or control"),
        ("http://h/a\r\nb", "blank or control"),
        ("http+unix:///tmp/x.sock", "names no socket"),
        ("http://" + "\xfc" * 300, "not a name"),
    ],
)
def test_faults_of_upstream_urls_are_named_in_one_line(url, fault):
    with pytest.raises(ValueError, match="upstream") as caught:
        parse_upstream(url)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_password_in_an_upstream_url_is_not_repeated():
    with pytest.raises(ValueError, match="user name") as caught:
        parse_upstream("http://me:secret@h/")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/", TargetForm(b"/", None, "origin", None)),
        (b"/a%2Fb//../%2e;x+y?q=%20&&=", TargetForm(b"/a%2Fb//../%2e;x+y", b"q=%20&&=", "origin", None)),
        (b"/a?", TargetForm(b"/a", b"", "origin", None)),
        (b"/a??b", TargetForm(b"/a", b"?b", "origin", None)),
        (b"//a/b", TargetForm(b"//a/b", None, "origin", None)),
        (b"/\xe4\xff", TargetForm(b"/\xe4\xff", None, "origin", None)),
        (b'/"<>\\^`{|}', TargetForm(b'/"<>\\^`{|}', None, "origin", None)),
        (b"/http://x", TargetForm(b"/http://x", None, "origin", None)),
        (b"http://h/a?b", TargetForm(b"/a", b"b", "absolute", b"h")),
        (b"HTTPS://[::1]:80?b", TargetForm(b"/", b"b", "absolute", b"[::1]:80")),
        (b"http://h", TargetForm(b"/", None, "absolute", b"h")),
        (b"http://h/a?", TargetForm(b"/a", b"", "absolute", b"h")),
    ],
)  # fmt: skip
def test_request_targets(target, expected):
    assert split_target(target, "GET") == expected


def test_targets_that_depend_on_the_method():
    assert split_target(b"*", "OPTIONS") == TargetForm(b"*", None, "asterisk", None)
    assert split_target(b"http://h", "OPTIONS") == TargetForm(b"*", None, "absolute", b"h")
    assert split_target(b"http://h?", "OPTIONS").path == b"/"
    assert split_target(b"h:80", "CONNECT") == TargetForm(b"", None, "authority", b"h:80")


@pytest.mark.parametrize(
    ("target", "method"),
    [(b"", "GET"), (b"*", "GET"), (b"a", "GET"), (b"h:80", "GET"), (b"/a b", "GET"), (b"/a\0", "GET"),
     (b"/a\x7f", "GET"), (b"/\r\nX: y", "GET"), (b"/\t", "GET"), (b"ftp://h/", "GET"),
     (b"http:///a", "GET"), (b"http://u:p@h/", "GET"), (b"http://a\\b/", "GET"),
     (b"http://h#a", "GET"), (b"http:/a", "GET"), (b"/", "CONNECT"), (b"http://h/", "CONNECT"),
     (b"?a", "GET")],
)  # fmt: skip
def test_targets_that_are_refused(target, method):
    with pytest.raises(BadRequest):
        split_target(target, method)


@pytest.mark.parametrize(
    ("base", "path", "query", "joined"),
    [
        (b"", b"/", None, b"/"),
        (b"", b"", None, b"/"),
        (b"", b"a", b"", b"/a?"),
        (b"/b", b"", None, b"/b"),
        (b"/b", b"/", b"q", b"/b/?q"),
        (b"/b", b"//a/../%2F", b"?", b"/b//a/../%2F??"),
        (b"/b", b"a", None, b"/b/a"),
        (b"/b", b"*", None, b"*"),
    ],
)
def test_targets_are_joined_byte_for_byte(base, path, query, joined):
    assert join_target(base, path, query) == joined


@given(st.binary(max_size=20).map(lambda b: b"/" + b))
def test_what_is_not_refused_comes_out_again(target):
    try:
        form = split_target(target, "GET")
    except BadRequest:
        assert any(byte <= 0x20 or byte in b"\x7f#" for byte in target)
        return
    assert join_target(b"", form.path, form.query) == target


@pytest.mark.parametrize(
    "url",
    ["http://u:secret@h", "u:secret@h", "ftp://u:secret@h", "http://u:secret@h/#x", "http://u:secret@h/?x",
     "http://u:sec#secret@h", "http://u:secret@h/a b", "http+unix://u:secret@", "http://u:secret@h:x", "://u:secret@h"],
)  # fmt: skip
def test_no_error_shows_a_password(url):
    with pytest.raises(ValueError, match="upstream") as caught:
        parse_upstream(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["a..b", ".a", "..", "a" * 64, "a." + "b" * 64 + ".c"])
def test_names_that_no_resolver_takes_are_refused(host):
    with pytest.raises(ValueError, match="malformed host"):
        parse_upstream(f"http://{host}/")


def test_a_name_may_end_with_a_dot():
    assert parse_upstream("http://a.b./").origin.host == "a.b."
