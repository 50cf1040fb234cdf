"""The pure half of the helpers."""

import pytest

from rolo.proxy.helpers import (
    Cors,
    TransformBodies,
    add_prefix,
    basic_auth,
    rewrite_cookie,
    rewrite_refresh,
    rewrite_url,
    strip_prefix,
)
from rolo.proxy.helpers.auth import parse_basic_auth


@pytest.mark.parametrize(
    ("path", "prefix", "stripped"),
    [
        ("/api/x", "/api", "/x"),
        ("/api/x", "/api/", "/x"),
        ("/api", "/api", "/"),
        ("/api/", "/api", "/"),
        ("/apis", "/api", None),
        ("/a%2Fb/c", "/a%2Fb", "/c"),
        ("/other", "/api", None),
    ],
)
def test_prefixes_are_stripped_where_a_segment_ends(path, prefix, stripped):
    assert strip_prefix(path, prefix) == stripped


def test_prefixes_are_added():
    assert add_prefix("/x", "/api/") == "/api/x"
    assert add_prefix("x", "/api") == "/api/x"


@pytest.mark.parametrize(
    ("url", "rewritten"),
    [
        ("http://in:81/base/x?q#f", "https://out/x?q#f"),
        ("HTTP://IN:81/base/x", "https://out/x"),
        ("http://in:81/base", "https://out"),
        ("http://in:81/bases", "http://in:81/bases"),
        ("http://in:81/BASE/x", "http://in:81/BASE/x"),
        ("http://in:81.evil/base", "http://in:81.evil/base"),
        ("http://other/base/x", "http://other/base/x"),
        ("/base/x", "/base/x"),
    ],
)
def test_urls_of_the_upstream_become_those_of_the_proxy(url, rewritten):
    assert rewrite_url(url, "http://in:81/base", "https://out/") == rewritten


def test_paths_become_other_paths():
    assert rewrite_url("/base/x", "/base", "/") == "/x"
    assert rewrite_url("/base", "/base", "/") == "/"
    assert rewrite_url("/x", "/", "/api") == "/api/x"


def test_refresh_fields_hold_urls():
    assert rewrite_refresh("5; url=http://in/x", "http://in", "http://out") == (
        "5; url=http://out/x"
    )
    assert rewrite_refresh("0;URL='http://in/'", "http://in", "/p") == "0;URL='/p/'"
    assert rewrite_refresh("5", "http://in", "http://out") == "5"
    assert rewrite_refresh('5, Url = "http://in" ', "http://in", "/p") == '5, Url = "/p" '
    assert rewrite_refresh("5; url= /a ", "/a", "/b") == "5; url= /b "
    assert rewrite_refresh("5; url='/a", "'/a", "/b") == "5; url=/b"
    assert rewrite_refresh("5; url=  ", "/a", "/b") == "5; url=  "


@pytest.mark.parametrize(
    ("cookie", "rewritten"),
    [
        ("a=1; Domain=.IN; Path=/base; Secure", "a=1; Path=/; Secure"),
        ("a=1; path=/base/x; HttpOnly", "a=1; path=/x; HttpOnly"),
        ("a=domain=in", "a=domain=in"),
        ("a=1; Domain=other; Path=/else", "a=1; Domain=other; Path=/else"),
    ],
)
def test_cookies_get_another_domain_and_path(cookie, rewritten):
    assert rewrite_cookie(cookie, domain=("in", None), path=("/base", "/")) == rewritten


def test_cookies_get_a_domain_in_place_of_another():
    assert rewrite_cookie("a=1; Domain=in", domain=("in", "out.example")) == (
        "a=1; Domain=out.example"
    )


def test_basic_auth_goes_there_and_back():
    assert parse_basic_auth(basic_auth("ada", "a:b ü")) == ("ada", "a:b ü")
    for broken in (None, "", "Bearer x", "Basic ?", "Basic YQ==", "Basic /w=="):
        assert parse_basic_auth(broken) is None
    with pytest.raises(ValueError, match="colon"):
        basic_auth("a:b", "c")


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="name the origins"):
        Cors(credentials=True)
    with pytest.raises(TypeError, match="give one of"):
        TransformBodies("text/html")
