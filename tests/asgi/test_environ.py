import pytest
from calls import http_scope, websocket_scope

from rolo.asgi import populate_wsgi_environment


def environ(scope):
    made = {}
    populate_wsgi_environment(made, scope)
    return made


def test_the_standard_variables():
    made = environ(http_scope(path="/a b", raw_path=b"/a%20b", query_string=b"x=1", method="PUT"))
    wanted = {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "x=1",
        "RAW_URI": "/a%20b?x=1",
        "REQUEST_URI": "/a%20b?x=1",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.7",
        "REMOTE_PORT": "1234",
        "wsgi.url_scheme": "http",
    }
    assert {key: made[key] for key in wanted} == wanted


def test_raw_pairs_are_kept_and_variables_derived_from_them():
    pairs = [(b"Host", b"h"), (b"X-A", b"1"), (b"x-a", b"2"), (b"Content-Type", b"text/plain")]
    made = environ(http_scope(headers=pairs))
    assert made["rolo.headers"] == made["asgi.headers"] == pairs
    assert made["HTTP_X_A"] == "1,2"
    assert made["CONTENT_TYPE"] == "text/plain"
    assert "HTTP_CONTENT_TYPE" not in made


def test_cookie_lines_are_joined_as_cookies_are():
    made = environ(http_scope(headers=[(b"cookie", b"a=1"), (b"cookie", b"b=2")]))
    assert made["HTTP_COOKIE"] == "a=1; b=2"


@pytest.mark.parametrize(
    ("version", "protocol"),
    [("1.0", "HTTP/1.0"), ("1.1", "HTTP/1.1"), ("2", "HTTP/2"), ("2.0", "HTTP/2"), ("3", "HTTP/3")],
)
def test_the_protocol_as_cgi_writes_it(version, protocol):
    assert environ(http_scope(http_version=version))["SERVER_PROTOCOL"] == protocol


def test_a_path_outside_ascii_is_written_as_wsgi_asks():
    made = environ(http_scope(path="/ü", raw_path=b"/%C3%BC"))
    assert made["PATH_INFO"] == "/\xc3\xbc"


def test_a_missing_raw_path_is_made_from_the_path():
    scope = http_scope(path="/a b/ü")
    del scope["raw_path"]
    assert environ(scope)["RAW_URI"] == "/a%20b/%C3%BC"


def test_a_query_that_a_server_left_in_the_raw_path_is_not_doubled():
    made = environ(http_scope(raw_path=b"/a?x=1", query_string=b"x=1", path="/a"))
    assert made["RAW_URI"] == "/a?x=1"


def test_a_target_in_absolute_form_has_a_path():
    raw = b"http://other.example/a%2Fb"
    made = environ(http_scope(path="http://other.example/a/b", raw_path=raw))
    assert made["PATH_INFO"] == "/a/b"
    assert made["RAW_URI"] == "http://other.example/a%2Fb"
    assert environ(http_scope(path="http://other.example"))["PATH_INFO"] == "/"


def test_the_root_path_is_the_script_name():
    made = environ(http_scope(root_path="/app", path="/app/x", raw_path=b"/app/x"))
    assert (made["SCRIPT_NAME"], made["PATH_INFO"]) == ("/app", "/x")


def test_addresses_may_be_missing():
    made = environ(http_scope(client=None, server=None, scheme="https"))
    assert "REMOTE_ADDR" not in made
    assert (made["SERVER_NAME"], made["SERVER_PORT"]) == ("localhost", "443")


def test_subprotocols_taken_out_of_the_head_by_the_server_come_back():
    made = environ(websocket_scope() | {"subprotocols": ["a", "b"]})
    assert made["HTTP_SEC_WEBSOCKET_PROTOCOL"] == "a, b"
