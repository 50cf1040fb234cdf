"""Requests to be read differently by different readers. Who sends them puts a mark in place of
``MARK``, to know them again at the origin."""

CHUNKED = "Transfer-Encoding: chunked"
BODY = b"3\r\nabc\r\n0\r\n\r\n"


def head(line, *fields, host="Host: proxied.test"):
    lines = [line, *([host] if host else []), "X-Mark: MARK", *fields, "", ""]
    return b"\r\n".join(x if isinstance(x, bytes) else x.encode("latin-1") for x in lines)


def get(*fields, **host):
    return head("GET /outer-MARK HTTP/1.1", *fields, **host)


def post(*fields, body=b""):
    return head("POST /outer-MARK HTTP/1.1", *fields) + body


def chunked(body, *fields):
    return post(CHUNKED, *fields, body=body)


def coded(coding):
    return post(f"Transfer-Encoding: {coding}", body=BODY)


def length(value):
    return post(f"Content-Length: {value}", body=b"abc")


# What the native server refuses. docs/http-support.md says which of them another server forgives.
MALFORMED = {
    # RFC 9112 section 6.3: how long is it?
    "a length, then chunked": post("Content-Length: 5", CHUNKED, body=BODY),
    "chunked, then a length": post(CHUNKED, "Content-Length: 5", body=BODY),
    "a length of 0 and chunked": post("Content-Length: 0", CHUNKED, body=BODY),
    "two different lengths": post("Content-Length: 3", "Content-Length: 10", body=b"abc"),
    "two equal lengths": post("Content-Length: 3", "Content-Length: 3", body=b"abc"),
    "a list of equal lengths": length("3, 3"),
    "a list of different lengths": length("3, 4"),
    "a length and a comma": length("3,"),
    "a length with a plus": length("+3"),
    "a negative length": length("-3"),
    "a hexadecimal length": length("0x3"),
    "a length with letters": length("3a"),
    "a length with a blank inside": length("3 3"),
    "a length with an underscore": length("3_0"),
    "a length with a fraction": length("3.0"),
    "a quoted length": length('"3"'),
    "a length of superscript digits": length("\xb3"),
    "a length with a vertical tab": length("\x0b3"),
    "an empty length": length(""),
    "an enormous length": length(10**25),
    # Section 6.1: which codings?
    "chunked with a prefix": coded("xchunked"),
    "chunked with a suffix": coded("chunkedx"),
    "gzip": coded("gzip"),
    "gzip, then chunked": coded("gzip, chunked"),
    "chunked, then gzip": coded("chunked, gzip"),
    "chunked twice in a list": coded("chunked, chunked"),
    "chunked on two lines": post(CHUNKED, CHUNKED, body=BODY),
    "chunked and identity on two lines": post(CHUNKED, "Transfer-Encoding: identity", body=BODY),
    "identity": post("Transfer-Encoding: identity"),
    "chunked and a comma": coded("chunked,"),
    "quoted chunked": coded('"chunked"'),
    "chunked with a parameter": coded("chunked;q=1"),
    "a vertical tab before chunked": coded("\x0bchunked"),
    "a form feed after chunked": coded("chunked\x0c"),
    "an empty coding": post("Transfer-Encoding:"),
    "an unknown coding beside a length": post(
        "Transfer-Encoding: x", "Content-Length: 3", body=b"abc"
    ),
    "chunked in HTTP/1.0": head("POST /outer-MARK HTTP/1.0", CHUNKED) + BODY,
    # Section 7.1: chunks
    "a chunk size of letters": chunked(b"zz\r\nabc\r\n0\r\n\r\n"),
    "a negative chunk size": chunked(b"-3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with 0x": chunked(b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with a plus": chunked(b"+3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with an underscore": chunked(b"0_3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with letters behind it": chunked(b"3xyz\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with a blank before it": chunked(b" 3\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with a blank after it": chunked(b"3 \r\nabc\r\n0\r\n\r\n"),
    "a chunk size with a tab after it": chunked(b"3\t\r\nabc\r\n0\r\n\r\n"),
    "a chunk size with 16 zeros in front": chunked(b"0" * 16 + b"3\r\nabc\r\n0\r\n\r\n"),
    "an empty chunk size": chunked(b"\r\nabc\r\n0\r\n\r\n"),
    "an enormous chunk size": chunked(b"f" * 21 + b"\r\nabc\r\n0\r\n\r\n"),
    "a chunk longer than its size": chunked(b"3\r\nabcd\r\n0\r\n\r\n"),
    "a chunk shorter than its size": chunked(b"3\r\nab\r\n0\r\n\r\n"),
    "a bare LF after a chunk size": chunked(b"3\nabc\r\n0\r\n\r\n"),
    "a bare CR after a chunk size": chunked(b"3\rabc\r\n0\r\n\r\n"),
    "a bare LF after a chunk": chunked(b"3\r\nabc\n0\r\n\r\n"),
    "a bare LF in an extension": chunked(b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
    "a bare CR in an extension": chunked(b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
    "NUL in an extension": chunked(b"3;a\0b\r\nabc\r\n0\r\n\r\n"),
    "a control in an extension": chunked(b"3;a=\x01\r\nabc\r\n0\r\n\r\n"),
    "an extension of 20,000 bytes": chunked(b"3;" + b"a" * 20_000 + b"\r\nabc\r\n0\r\n\r\n"),
    "bare LFs after the last chunk": chunked(b"3\r\nabc\r\n0\n\n"),
    "a trailer with a blank before the colon": chunked(b"3\r\nabc\r\n0\r\nX-One : 9\r\n\r\n"),
    "a trailer without a colon": chunked(b"3\r\nabc\r\n0\r\nX-One\r\n\r\n"),
    "NUL in a trailer": chunked(b"3\r\nabc\r\n0\r\nX-One: a\0b\r\n\r\n"),
    "a bare CR in a trailer": chunked(b"3\r\nabc\r\n0\r\nX-One: a\rX-Two: b\r\n\r\n"),
    "a bare LF in a trailer": chunked(b"3\r\nabc\r\n0\r\nX-One: a\nX-Two: b\r\n\r\n"),
    "a folded trailer": chunked(b"3\r\nabc\r\n0\r\nX-One: 9\r\n 9\r\n\r\n"),
    # Section 5: field lines
    "a blank before the colon": post("X-One : a"),
    "a blank before the colon of a length": post("Content-Length : 3", body=b"abc"),
    "a blank before the colon of chunked": post("Transfer-Encoding : chunked", body=BODY),
    "a tab before the colon": post("X-One\t: a"),
    "a blank in a name": get("X One: a"),
    "a bracket in a name": get("X[One]: a"),
    "a slash in a name": get("X/One: a"),
    "a byte beyond ASCII in a name": get("X-\xe9: a"),
    "NUL in a name": get("X-\0: a"),
    "an empty name": get(": a"),
    "no colon": get("X-One"),
    "a folded line": get("X-One: a", " b"),
    "a line folded with a tab": get("X-One: a", "\tb"),
    "a folded length": post("Content-Length:", " 3", body=b"abc"),
    "a folded coding": post("Transfer-Encoding:", " chunked", body=BODY),
    "a folded line of blanks": get("X-One: a", "   "),
    "a blank before the first field": get(host=" Host: proxied.test"),
    "NUL in a value": get("X-One: a\0b"),
    "a control in a value": get("X-One: a\x01b"),
    "DEL in a value": get("X-One: a\x7fb"),
    "a bare LF between fields": get("X-One: a\nX-Two: b"),
    "a bare CR between fields": get("X-One: a\rX-Two: b"),
    "a bare CR at the end of a line": get("X-One: a\r\r\nX-Two: b"),
    "bare LFs at the end of a head": get("X-One: a")[:-4] + b"\n\n",
    "bare LFs only": get("X-One: a").replace(b"\r\n", b"\n"),
    "a field of 300,000 bytes": get("X-Long: " + "a" * 300_000),
    "2,000 fields": get(*(f"X-{i}: 1" for i in range(2000))),
    # Section 3.2: Host
    "no Host": get(host=None),
    "two Hosts": get("Host: other.test"),
    "two equal Hosts": get("Host: proxied.test"),
    "a Host with a blank": get(host="Host: a b"),
    "a Host with a path": get(host="Host: a.test/b"),
    "a Host with a user": get(host="Host: a@b.test"),
    "a Host with a list": get(host="Host: a.test, b.test"),
    "a Host with an open bracket": get(host="Host: [::1"),
    "a Host with letters for a port": get(host="Host: a.test:x"),
    # Section 3: the request line
    "HTTP/2.0": head("GET /outer-MARK HTTP/2.0"),
    "HTTP/0.9": head("GET /outer-MARK HTTP/0.9"),
    "HTTP/1.2": head("GET /outer-MARK HTTP/1.2"),
    "HTTP/1.10": head("GET /outer-MARK HTTP/1.10"),
    "HTTP/1": head("GET /outer-MARK HTTP/1"),
    "HTTP/1.1a": head("GET /outer-MARK HTTP/1.1a"),
    "RTSP/1.0": head("GET /outer-MARK RTSP/1.0"),
    "ICE/1.0": head("SOURCE /outer-MARK ICE/1.0"),
    "http in lower case": head("GET /outer-MARK http/1.1"),
    "no version": head("GET /outer-MARK"),
    "no target": head("GET HTTP/1.1"),
    "two blanks after the method": head("GET  /outer-MARK HTTP/1.1"),
    "two blanks before the version": head("GET /outer-MARK  HTTP/1.1"),
    "a tab after the method": head("GET\t/outer-MARK HTTP/1.1"),
    "a blank at the end of the line": head("GET /outer-MARK HTTP/1.1 "),
    "a blank in front of the line": head(" GET /outer-MARK HTTP/1.1"),
    "a blank in the target": head("GET /outer-MARK/a b HTTP/1.1"),
    "a control in the target": head("GET /outer-MARK/\x01 HTTP/1.1"),
    "DEL in the target": head("GET /outer-MARK\x7f HTTP/1.1"),
    "a user in the target": head("GET http://a:b@proxied.test/outer-MARK HTTP/1.1"),
    "a target of ftp": head("GET ftp://proxied.test/outer-MARK HTTP/1.1"),
    "a fragment in the target": head("GET /outer-MARK#part HTTP/1.1"),
    "a fragment behind a query": head("GET /outer-MARK?a=b#part HTTP/1.1"),
    "a target without a slash": head("GET outer-MARK HTTP/1.1"),
    "an asterisk for GET": head("GET * HTTP/1.1"),
    "a method with a colon": head("G:T /outer-MARK HTTP/1.1"),
    "a bare LF after the line": head("GET /outer-MARK HTTP/1.1\nX-One: a"),
    "an empty line of a bare LF in front": b"\n" + get(),
    "a bare CR in front": b"\r" + get(),
    "NUL in front": b"\0" + get(),
    "three empty lines in front": b"\r\n" * 3 + get(),
}

# What is allowed, and still refused by some.
ODD = {
    "a length with a zero in front": length("03"),
    "chunked in capitals": coded("CHUNKED"),
    "an extension": chunked(b'3;a="b;c"\r\nabc\r\n0\r\n\r\n'),
    "a length among the trailers": chunked(b"3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n"),
    "an empty line in front": b"\r\n" + get(),
    "another host in the target": head("GET http://other.test/outer-MARK HTTP/1.1"),
    "an empty Host": get(host="Host:"),
}
