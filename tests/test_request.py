import io

import pytest
from werkzeug.datastructures import Headers
from werkzeug.exceptions import Forbidden
from werkzeug.test import Client, EnvironBuilder

from rolo import Request, Response
from rolo.request import (
    dummy_wsgi_environment,
    get_full_raw_path,
    get_raw_base_url,
    get_raw_current_url,
    get_raw_path,
    headers_from_environ,
    restore_payload,
    set_environment_headers,
)

FORM = b"a=1&b=%20c&a=3"
MULTIPART = (
    b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--X\r\nContent-Disposition: form-data; name="f"; filename="t.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nfoo\r\n--X--\r\n"
)


def test_request_is_built_from_its_parts():
    request = Request(
        "post",
        "/foo/b ü",
        headers={"X-a-B": "1", "Content-Type": "text/plain"},
        body="hällo",
        scheme="https",
        root_path="/pre/",
        query_string="a=1&b=%20",
        remote_addr="1.2.3.4",
        server=("h", 81),
    )
    assert request.method == "POST"
    assert request.path == "/foo/b ü"
    assert request.root_path == "/pre"
    assert request.args.to_dict() == {"a": "1", "b": " "}
    assert request.data == "hällo".encode()
    assert request.remote_addr == "1.2.3.4"
    assert request.host == "h:81"
    assert request.scheme == "https"
    assert request.environ["wsgi.input_terminated"] is True
    assert request.environ["SERVER_PROTOCOL"] == "HTTP/1.1"


def test_headers_keep_case_order_and_repeats_and_may_be_changed():
    headers = Headers([("B-x", "1"), ("a", "2"), ("b-X", "3")])
    request = Request(headers=headers)
    request.headers["New-One"] = "4"
    assert list(request.headers) == [
        ("B-x", "1"),
        ("a", "2"),
        ("b-X", "3"),
        ("content-length", "0"),
        ("New-One", "4"),
    ]
    assert len(headers) == 3


@pytest.mark.parametrize(
    ("body", "headers", "length"),
    [
        pytest.param(b"abc", None, 3, id="length of bytes"),
        pytest.param("ü", None, 2, id="length of text in UTF-8"),
        pytest.param(None, None, 0, id="no body"),
        pytest.param(b"abc", {"Content-Length": "7"}, 7, id="length given"),
        pytest.param(b"abc", {"Transfer-Encoding": "chunked"}, None, id="chunked has no length"),
        pytest.param(io.BytesIO(b"abc"), None, None, id="file without a length"),
    ],
)
def test_content_length(body, headers, length):
    assert Request("POST", body=body, headers=headers).content_length == length


def test_repeated_headers_are_joined_in_the_environment():
    environ = {}
    set_environment_headers(
        environ,
        Headers(
            [("A-b", "1"), ("a-B", "2"), ("Cookie", "x"), ("Cookie", "y"), ("Content-Type", "t")]
        ),
    )
    assert environ == {"HTTP_A_B": "1,2", "HTTP_COOKIE": "x; y", "CONTENT_TYPE": "t"}


@pytest.mark.parametrize(
    ("environ", "headers"),
    [
        pytest.param(
            {"HTTP_A_B": "1", "CONTENT_TYPE": "t"}, [("A-B", "1"), ("Content-Type", "t")], id="cgi"
        ),
        pytest.param(
            {"HTTP_A": "0", "asgi.headers": [(b"a-B", b"1")]}, [("a-B", "1")], id="asgi pairs"
        ),
        pytest.param(
            {"asgi.headers": [(b"x", b"0")], "rolo.headers": [(b"a-B", b"\xfc"), (b"A-b", b"2")]},
            [("a-B", "ü"), ("A-b", "2")],
            id="our pairs before others",
        ),
    ],
)
def test_headers_from_environ(environ, headers):
    assert list(headers_from_environ(environ)) == headers


def test_request_of_a_server_has_changeable_headers():
    request = Request.from_environ(EnvironBuilder("/x", headers={"A": "1"}).get_environ())
    request.headers["B"] = "2"
    assert isinstance(request, Request)
    assert request.headers["A"] == "1"


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        pytest.param({"RAW_URI": "/a%2Fb?x=/y"}, "/a%2Fb", id="origin form"),
        pytest.param({"REQUEST_URI": "/a%20b"}, "/a%20b", id="other key"),
        pytest.param({"RAW_URI": "http://h:1/a%20b?q"}, "/a%20b", id="absolute form"),
        pytest.param({"RAW_URI": "http://h"}, "/", id="absolute form without a path"),
        pytest.param({"RAW_URI": "//a/b"}, "//a/b", id="two slashes are not a host"),
        pytest.param({"RAW_URI": "*"}, "*", id="asterisk"),
        pytest.param({}, "/dec oded", id="unknown"),
    ],
)
def test_get_raw_path(environ, path):
    request = Request(path="/dec oded")
    request.environ.update(environ)
    assert get_raw_path(request) == path


def test_raw_urls():
    request = Request(path="/a b", raw_path="/a%20b", query_string="x=%20", headers={"Host": "h:1"})
    assert request.environ["RAW_URI"] == "/a%20b?x=%20"
    assert get_full_raw_path(request) == "/a%20b?x=%20"
    assert get_raw_base_url(request) == "http://h:1/a%20b"


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        (("http", "h:80"), "http://h:80/"),
        (("http", "h:80", "/r"), "http://h:80/r/"),
        (("http", "h", "/r/", "/p", "q=1"), "http://h/r/p?q=1"),
        (("http", "h", "", "/p%2F", b"q=1"), "http://h/p%2F?q=1"),
        (("https", "h", None, "/p", b"q"), "https://h/"),
    ],
)
def test_get_raw_current_url(parts, url):
    assert get_raw_current_url(*parts) == url


@pytest.mark.parametrize("touch", ["nothing", "data", "form", "stream"])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(FORM, "application/x-www-form-urlencoded", id="form"),
        pytest.param(MULTIPART, "multipart/form-data; boundary=X", id="multipart"),
        pytest.param(b"\x00\xff", "application/octet-stream", id="bytes"),
        pytest.param(b"", "text/plain", id="empty"),
    ],
)
def test_payload_is_restored_to_the_byte(body, content_type, touch):
    with Request("POST", body=body, headers={"Content-Type": content_type}) as request:
        if touch == "stream":
            request.stream.read()
        elif touch != "nothing":
            getattr(request, touch)
        assert restore_payload(request) == body
        assert restore_payload(request) == body


class OneWay(io.RawIOBase):
    """A body that a server gives once."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)


@pytest.mark.parametrize(
    ("body", "content_type", "restored"),
    [
        pytest.param(FORM, "application/x-www-form-urlencoded", b"a=1&a=3&b=+c", id="form"),
        pytest.param(MULTIPART, "multipart/form-data; boundary=X", MULTIPART, id="multipart"),
    ],
)
def test_payload_that_is_gone_is_rebuilt_from_the_form(body, content_type, restored):
    headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
    with Request("POST", body=OneWay(body), headers=headers) as request:
        assert request.form["a"] == "1"
        assert restore_payload(request).removeprefix(b"\r\n") == restored


def test_payload_comes_from_a_stream_that_can_replay():
    class Replaying(OneWay):
        def replay(self):
            return b"again"

    request = Request("POST", body=Replaying(b"again"), headers={"Content-Length": "5"})
    request.stream.read()
    assert restore_payload(request) == b"again"


def test_payload_that_a_handler_replaced_is_the_new_one():
    request = Request("POST", body=b"old")
    request.data = b"new"
    assert restore_payload(request) == b"new"


def test_application_decorator():
    @Request.application
    def app(request):
        if request.path == "/no":
            raise Forbidden
        return Response(type(request).__name__)

    client = Client(app)
    assert client.get("/").data == b"Request"
    assert client.get("/no").status_code == 403


def test_dummy_environment_takes_a_file():
    file = io.BytesIO(b"abc")
    assert dummy_wsgi_environment(body=file)["wsgi.input"] is file


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("way", [lambda data: data, OneWay], ids=["in memory", "one way"])
def test_a_form_with_fields_among_files_is_restored_as_multipart(method, way):
    headers = {
        "Content-Type": "multipart/form-data; boundary=X",
        "Content-Length": str(len(MULTIPART)),
    }
    with Request(method, body=way(MULTIPART), headers=headers) as request:
        assert request.files or request.form
        restored = restore_payload(request)
    with Request(method, body=restored, headers=headers) as again:
        assert again.form == request.form
        assert {n: f.filename for n, f in again.files.items()} == {
            n: f.filename for n, f in request.files.items()
        }


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "FOO"])
def test_other_methods_have_no_form_to_restore(method):
    form = Request(method, body=FORM, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert restore_payload(form) == form.data == b""
    assert restore_payload(Request(method, body=b"text")) == b"text"
