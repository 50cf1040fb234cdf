"""Ask gateways on rolo 0.8.9 and on this tree the same, and list every difference.

``make compare``, or ``python tests/compare.py [SERVER ...]``, SERVER being hypercorn, werkzeug or
twisted. The registry's 0.8.9 goes into an environment of its own, ``.compare``; the program that
both run is ``compare_gateways.py``. Each difference must be one that the table of
docs/compatibility.md tells of: ``KNOWN`` says by which row. Ends with 1 if there is another one.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import http.server
import json
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import typing as t

from compare_answers import ask_h2, ask_http1, ask_websocket
from compare_cases import PROGRAM, chunked, h2_cases, http1_cases, request, websocket_cases

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".compare"
PACKAGES = ["rolo==0.8.9", "hypercorn==0.18.0", "twisted>=24", "pydantic>=2.7"]
TABLE = ROOT / "docs" / "compatibility.md"
RECORDED = ROOT / "tests" / "compatibility" / "answers_of_0_8_9.json"
SERVERS = ("hypercorn", "werkzeug", "twisted")


class Difference(t.NamedTuple):
    """What one answer had otherwise."""

    server: str
    case: str
    aspect: str
    old: t.Any
    new: t.Any


class Known(t.NamedTuple):
    """Differences that one row of the table tells of."""

    row: str
    """How its first cell begins."""
    case: str = ""
    """An expression for the names of cases, and so on."""
    aspect: str = ""
    old: str = ""
    new: str = ""
    server: str = ""

    def tells_of(self, difference: Difference) -> bool:
        return all(
            re.search(pattern, str(value), re.S)
            for pattern, value in (
                (self.server, difference.server),
                (self.case, difference.case),
                (self.aspect, difference.aspect),
                (self.old, difference.old),
                (self.new, difference.new),
            )
        )

    def may_tell_of(self, server: str, case: str, aspect: str) -> bool:
        """Whether it would tell of some difference there."""
        return all(
            re.search(pattern, text)
            for pattern, text in (
                (self.server, server),
                (self.case, case),
                (self.aspect, aspect),
            )
        )


PROXIED = r"(prox|/forward/|^by|^mutate )"
KNOWN = [
    Known("an error that no handler", r"GET /(strange|fails|chain/fails)$"),
    Known("an error that leaves the chain", r"GET /chain/throw$"),
    Known("a body that fails half way", r"/fails_late$"),
    Known(
        "`WerkzeugExceptionHandler`",
        r"^get only|things|methods$|/ws/echo$|own/rule$",
        r"^(names|field (allow|content-type))$",
        new="llow|json|HEAD|GET|POST|WEBSOCKET",
    ),
    Known("invalid JSON for a pydantic", r"^(/typed(_default)? (\{|a=b)|typed, a form)$"),
    Known("a pydantic endpoint with", r"^/typed_default $"),
    Known("`//` in a path", r"^GET (/echo//a|/seg/a//b|/tail/a//b|/proxy//a)$"),
    Known("what follows a `;`", r";b=c$"),
    Known("`get_raw_base_url`", r"^GET //echo/a$", r"raw_base_url$"),
    Known("`HEAD` and `GET` rules", r"^HEAD /headed$"),
    Known("rules without a host", r"^host a_b"),
    Known("a plain request with the method `WEBSOCKET`", r"\bWEBSOCKET$"),
    Known("Content-Length beside", r"^length and chunks$"),
    Known("transfer codings", r"^unknown coding$"),
    Known("`HTTP_*` variables of repeated", r" \+ ", r"environ\.HTTP_"),
    Known("`HTTP_*` variables of fields with", r"^field .*_", r"environ\."),
    Known("request fields with an underscore", r"^proxied field .*_", r"(field|name) .*[_-]"),
    Known(
        "`restore_payload` of a form",
        r"^(form|payload|POST|PUT|large|chunked|h2 form)",
        r"^body(\.payload)?$",
    ),
    Known("fields that `requests` adds", r"^by handler", r"^body\.(FIELDS|NAMES)$", r"ACCEPT"),
    Known("websockets through", r"^ws to a proxy$"),
    Known("an error inside", r"^ws fails$", r"^heard"),
    Known("a body that a handler has begun", r"^mutate read"),
    Known("`request.headers` replaced", r"^mutate new-headers", r"content-type$"),
    Known("`request.method` set", r"^mutate method, ", r"^body\.method$"),
    Known("a request without Host", r"^by forwarded_anew"),
    Known("variables of a request on Twisted", aspect=r"environ\.", server="twisted"),
    Known("a target in absolute form on Twisted", r"^absolute target$", server="twisted"),
    Known("HTTP/1.1 without Host", r"^no host$", server="twisted"),
    Known("`OPTIONS *` on Twisted", r"^asterisk$", server="twisted"),
    Known("refusals of Twisted", r"^two lengths$", server="twisted"),
    Known(
        "`Connection: close` on Twisted",
        aspect=r"connection|names",
        new=r"lose|onnection",
        server="twisted",
    ),
    Known("100 (Continue) on Twisted", r"xpect", r"^interim$", server="twisted"),
    Known("a websocket handler that returns", r"^ws ", r"^heard", r"end", r"1000", "twisted"),
    Known("a handshake that nobody answers on Twisted", r"^ws unanswered", server="twisted"),
    Known("redirects of an upstream", r"/answer/redirect$"),
    Known("dead or slow upstream", r"/dead/x$"),
    Known(
        "hop-by-hop",
        PROXIED,
        r"(keep-alive|proxy-connection|[ .]te|connection)$",
    ),
    Known("hop-by-hop", r"/answer/(hop|close)$|^HEAD /proxy/answer/chunks$"),
    Known(
        "Content-Type of an answer",
        PROXIED,
        r"^(field content-type|names)$",
    ),
    Known("reason phrase", PROXIED, r"^reason$"),
    Known("`X-Forwarded-Host`", PROXIED, r"x-forwarded-host$"),
    Known(
        "fields that `requests` adds",
        PROXIED,
        r"(accept|accept-encoding|user-agent|connection)$",
    ),
    Known(
        "fields that `requests` adds",
        PROXIED,
        r"content-length$",
        r"0|Content-Length",
        r"None",
    ),
    Known("cookie jar", PROXIED, r"(field|name) cookie$"),
    Known("repeated fields", r"^proxied.* \+ ", r"field "),
    Known(
        "form bodies through a proxy",
        r"^(proxied form|(POST|PUT) (multipart|empty form)|large|chunked form|h2 form)",
        r"^body\.(body|size|field content-length)$",
    ),
    Known(
        "form bodies through a proxy",
        r"proxied form",
        r"name content-length",
    ),
    Known(
        "bodies through a proxy",
        PROXIED,
        r"(content-length|transfer-encoding)$",
    ),
    Known("the target of a request", PROXIED, r"^body\.target$", new=r"\.\./|%20|%zz|\?$"),
    Known("a target in absolute form", r"^absolute target, proxied$", r"(field|name) host$"),
    Known("the method of a request", r"\bget$", r"^body\.method$"),
    Known("the case of field names", PROXIED, r"^body\.name "),
]


# Who is asked ----------------------------------------------------------------------------------


class Origin(http.server.BaseHTTPRequestHandler):
    """Tells what it got; below ``/answer/`` it has answers of its own."""

    protocol_version = "HTTP/1.1"
    FIELDS: t.ClassVar[dict[str, list[tuple[str, str]]]] = {
        "redirect": [("Location", "/elsewhere")],
        "cookies": [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/"), ("X-mIxed", "1")],
        "gzip": [("Content-Encoding", "gzip"), ("Content-Type", "text/plain")],
        "hop": [("Keep-Alive", "5"), ("Proxy-Connection", "x"), ("X-Kept", "1")],
    }

    def answer(self) -> None:
        body = self.read_body()
        if "/answer/" in self.path:
            self.special(self.path.rpartition("/")[2])
            return
        document = {
            "method": self.command,
            "target": self.path,
            "names": sorted(self.headers.keys()),
            "fields": sorted([name.lower(), value] for name, value in self.headers.items()),
            "body": body[:300].decode("latin-1"),
            "size": len(body),
        }
        self.send(200, json.dumps(document).encode(), [("Content-Type", "application/json")])

    def read_body(self) -> bytes:
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            body = b""
            while length := int(self.rfile.readline(), 16):
                body += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def special(self, kind: str) -> None:
        if kind == "chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else chunked(b"one", b"two"))
        elif kind == "close":
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")
        else:
            status = 302 if kind == "redirect" else int(kind) if kind.isdigit() else 200
            empty = kind in ("204", "304", "empty")
            zipped = base64.b64decode("H4sIAAAAAAAAA8tIzcnJVyjPL8pJAQCFEUoNCwAAAA==")
            body = b"" if empty else zipped if kind == "gzip" else b"its own"
            self.send(status, body, self.FIELDS.get(kind, []))

    def send(self, status: int, body: bytes, fields: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer
    do_TRACE = do_PROPFIND = do_get = do_WEBSOCKET = answer

    def log_message(self, format: str, *args: t.Any) -> None:
        pass


@contextlib.contextmanager
def origin() -> t.Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def gateways(python: str, path: str | None, server: str, upstream: str) -> t.Iterator[int]:
    """Run the program; gives its port.

    :param path: a tree to import rolo from; ``None``: what ``python`` has installed
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [python, "-W", "ignore", str(PROGRAM), server, str(port), upstream],
        stdin=subprocess.PIPE,
        env={"PYTHONPATH": path} if path else {},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    errors: list[bytes] = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()))
    reader.start()
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(b"".join(errors).decode()[-2000:]) from None
                time.sleep(0.1)
        yield port
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        process.stderr.close()


def old_python() -> str:
    """Return the Python that has 0.8.9, made if need be."""
    python = HOME / "bin" / "python"
    if not (HOME / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES], check=True)
        (HOME / ".installed").touch()
    return str(python)


def answers(server: str, port: int) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    for name, sent in http1_cases():
        yield name, ask_http1(port, sent)
    if server == "werkzeug":
        return  # it speaks neither
    for name, head, body in h2_cases():
        yield name, ask_h2(port, head, body)
    for name, path, fields, script in websocket_cases():
        yield name, ask_websocket(port, path, fields, script)
    # What the handlers were told of the clients' closes.
    yield "ws codes", ask_http1(port, request("/chain/closed"))


def comparable(answer: dict[str, t.Any], ports: t.Iterable[int]) -> dict[str, str]:
    """Return each aspect as JSON, without what differs from run to run."""
    texts = {aspect: json.dumps(value, sort_keys=True) for aspect, value in answer.items()}
    for port in ports:
        texts = {aspect: re.sub(rf"\b{port}\b", "PORT", text) for aspect, text in texts.items()}
    return texts


def digests(server: str, port: int, upstream: str) -> dict[str, str]:
    """Return what is left of each answer without the aspects that some row may tell of: a digest
    by case."""
    ports = port, int(upstream.rpartition(":")[2])
    found = {}
    for name, answer in answers(server, port):
        left = {
            aspect: re.sub(r"errors\.pydantic\.dev/[\d.]+", "", text)
            for aspect, text in comparable(answer, ports).items()
            if not any(row.may_tell_of(server, name, aspect) for row in KNOWN)
        }
        found[name] = hashlib.sha256(json.dumps(left, sort_keys=True).encode()).hexdigest()[:8]
    return found


def differences(server: str, old: int, new: int) -> t.Iterator[Difference]:
    for (name, one), (_, other) in zip(answers(server, old), answers(server, new), strict=True):
        before, after = comparable(one, [old]), comparable(other, [new])
        for aspect in sorted(before.keys() | after.keys()):
            was, now = before.get(aspect, "null"), after.get(aspect, "null")
            if was != now:
                yield Difference(server, name, aspect, json.loads(was), json.loads(now))


def rows() -> list[str]:
    """Return the first cells of the table."""
    lines = TABLE.read_text().splitlines()
    return [line[2:].split(" | ")[0] for line in lines if re.match(r"\| (?!where )", line)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--all", action="store_true", help="list what the table tells of, too")
    parser.add_argument("--record", action="store_true", help=f"write {RECORDED.name}, and end")
    parser.add_argument("servers", nargs="*", metavar="SERVER")
    options = parser.parse_args()
    if strange := set(options.servers) - set(SERVERS):
        parser.error(f"no such server: {', '.join(sorted(strange))}")
    try:
        python = old_python()
    except subprocess.CalledProcessError as exc:
        print(f"nothing to compare with: {exc}")
        return 0
    if options.record:
        record(python)
        return 0
    unknown = 0
    used: set[Known] = set()
    with origin() as upstream:
        for server in options.servers or SERVERS:
            try:
                with (
                    gateways(python, None, server, upstream) as old,
                    gateways(sys.executable, str(ROOT), server, upstream) as new,
                ):
                    count = 0
                    for each in differences(server, old, new):
                        count += 1
                        known = [row for row in KNOWN if row.tells_of(each)]
                        used.update(known[:1])
                        unknown += not known
                        if options.all or not known:
                            tell(each, known)
                    print(f"{server}: {count} differences")
            except RuntimeError as exc:
                print(f"{server} skipped: {str(exc).strip().splitlines()[-1]}")
    missing = [row.row for row in KNOWN if not any(each.startswith(row.row) for each in rows())]
    for row in missing:
        print(f"not in the table: {row}")
    for row in KNOWN:
        if row not in used and not options.servers:
            print(f"no longer a difference: {row}")
    print(f"{unknown} differences that the table does not tell of")
    return unknown > 0 or bool(missing)


def record(python: str) -> None:
    """Note what 0.8.9 answers on hypercorn, for ``tests/compatibility/test_recorded.py``."""
    with origin() as upstream, gateways(python, None, "hypercorn", upstream) as port:
        text = json.dumps(digests("hypercorn", port, upstream), indent=0, ensure_ascii=False)
    RECORDED.write_text(text + "\n")


def tell(difference: Difference, known: list[Known]) -> None:
    print(f"{difference.server} | {difference.case} | {difference.aspect}")
    print(f"    0.8.9: {str(difference.old)[:300]}")
    print(f"    now:   {str(difference.new)[:300]}")
    if known:
        print(f"    as in: {known[0].row}")


if __name__ == "__main__":
    sys.exit(main())
