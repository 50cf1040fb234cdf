"""The page in a real browser, while real traffic runs."""

import json
import pathlib
import socket
import threading

import pytest
import requests
import websocket as websocket_client

from rolo import Request, Response
from rolo.har import read_har
from rolo.proxy import Hooks

CASES = json.loads((pathlib.Path(__file__).parent / "filter_cases.json").read_text())


class Stamp(Hooks):
    def on_outgoing(self, context, outbound):
        outbound.headers["X-Edge"] = "1"

    def on_response(self, context, response):
        response.headers["X-Brand"] = "acme"


def test_rows_come_while_traffic_runs_and_details_show_what_passed(watch, look):
    watched = watch(hooks=[Stamp()])
    page = look(watched.page.url)
    assert page.inner_text("#count") == "0 exchanges"
    requests.post(
        f"{watched.url}/echo?a=1",
        json={"hello": ["w", 1, None]},
        headers={"Authorization": "Bearer s3cret"},
    )
    assert "POST" in page.row(1).inner_text()
    page.open(1)
    text = page.panel("hello")
    assert "POST /echo?a=1 HTTP/1.1" in text
    assert "s3cret" not in text
    page.click("#side .masked")
    page.panel("Bearer s3cret")
    page.open(1, "Answer")
    assert "X-Brand: acme" in page.panel("HTTP/1.1 200 OK")
    page.open(1, "Upstream")
    page.panel("Request: what came, and what went")
    assert "X-Edge: 1" in page.inner_text("#side ins:has-text('X-Edge')")
    assert "X-Brand: acme" in page.inner_text("#side ins:has-text('X-Brand')")
    page.open(1, "Timing")
    page.panel("waiting for the answer")


def test_each_kind_of_body_is_shown_as_what_it_is(watch, look):
    watched = watch()
    picture = bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360"
        "606060000000050001a5f645400000000049454e44ae426082"
    )
    bodies = {
        "text": ("text/plain; charset=latin-1", "caf\xe9".encode("latin-1")),
        "bytes": ("application/octet-stream", b"\x00\x01\xffend"),
        "form": ("application/x-www-form-urlencoded", b"name=Ada+L&town=Z%C3%BCrich"),
        "picture": ("image/png", picture),
        "fake": ("image/png", b"<script>alert(1)</script>"),
    }
    watched.router.add(
        "/body/<name>",
        lambda request, name: Response(bodies[name][1], content_type=bodies[name][0]),
    )
    requests.get(f"{watched.url}/body/text")
    requests.get(f"{watched.url}/body/bytes")
    requests.get(f"{watched.url}/body/form")
    requests.get(f"{watched.url}/body/picture")
    requests.get(f"{watched.url}/body/fake")
    requests.post(f"{watched.url}/echo", files={"note": ("a.txt", b"inside")}, data={"x": "1"})
    page = look(watched.page.url)
    page.row(6)
    page.open(1, "Answer")
    page.panel("café")
    page.open(2)
    page.panel("00 01 ff 65 6e 64")
    page.open(3)
    page.panel("Zürich")
    page.open(4)
    page.wait_for_function("() => document.querySelector('img.picture')?.naturalWidth === 1")
    page.open(5)
    page.panel("<script>alert(1)</script>")
    page.open(6, "Request")
    page.panel("a.txt")
    page.panel("inside")


def test_events_and_messages_come_live(watch, look):
    watched = watch()
    go_on = threading.Event()

    def events(request: Request) -> Response:
        def stream():
            yield b"event: tick\ndata: first\n\n"
            go_on.wait(10)
            yield b"data: second\n\n"

        return Response(stream(), mimetype="text/event-stream")

    watched.router.add("/ticks", events)
    page = look(watched.page.url)
    with requests.get(f"{watched.url}/ticks", stream=True) as answer:
        page.open(1, "Events")
        page.panel("tick: first")
        go_on.set()
        page.panel("second")
        assert b"second" in answer.content
    chat = websocket_client.create_connection(watched.url.replace("http", "ws") + "/ws")
    chat.send("one")
    assert chat.recv() == "one"
    page.open(2, "Messages")
    page.panel("2 messages")
    page.fill("#side textarea", "by hand")
    page.click("text=To the client")
    assert chat.recv() == "by hand"
    page.click("text=To the server")
    assert chat.recv() == "by hand"
    page.panel("5 messages")
    page.fill("#side input[type=search]", "one")
    page.panel("2 of 5 messages")
    chat.close(4001, b"enough")
    page.row(2)
    page.open(2, "Answer")
    page.panel("Closed by the client: 4001")


def test_the_filter_line_filters_and_completes(watch, look):
    watched = watch()
    requests.get(f"{watched.url}/echo/a?find=needle")
    requests.post(f"{watched.url}/echo/b", data=b"haystack")
    requests.get(f"{watched.url}/nope")
    page = look(watched.page.url)
    page.row(3)
    page.filter("method:POST", [2])
    page.filter("status:404", [3])
    page.filter("-status:404", [1, 2])
    page.filter('text:"needle"', [1])
    page.filter("-text:haystack", [1, 3])
    page.filter("path:/echo method:GET", [1])
    page.fill("#filter", "")
    page.press("#filter", "Escape")
    page.press("body", "/")
    page.keyboard.type("sta")
    page.wait_for_selector("#completions li")
    page.keyboard.press("Tab")
    page.keyboard.type("4")
    page.keyboard.press("Tab")
    page.wait_for_function("() => document.querySelector('#filter').value === 'status:4xx '")
    page.fill("#filter", "colour:red")
    page.wait_for_selector("#filter[aria-invalid=true]")
    assert "unknown: colour:" in page.inner_text("#notice")


def test_the_pages_filters_are_those_of_the_table(watch, look):
    page = look(watch().page.url)
    matches, mistakes = page.evaluate(
        """async (cases) => {
          const { parse } = await import('./filter.js');
          const matches = cases.matches.map(([line]) => {
            const filter = parse(line);
            return [line, Object.entries(cases.rows).filter(([, row]) => filter.test(row)).map(([name]) => name)];
          });
          const mistakes = cases.mistakes.map(([line]) => {
            try { parse(line); return [line, '']; } catch (error) { return [line, error.message]; }
          });
          return [matches, mistakes];
        }""",
        CASES,
    )
    assert matches == CASES["matches"]
    for (_, said), (_, expected) in zip(mistakes, CASES["mistakes"], strict=True):
        assert said.startswith(expected)


def test_a_request_is_sent_again_and_edited(watch, look):
    watched = watch()
    requests.post(f"{watched.url}/echo/a", data=b"first", headers={"X-Kind": "old"})
    page = look(watched.page.url)
    page.open(1)
    page.press("body", "r")
    page.row(2)
    page.open(2, "Request")
    page.panel("first")
    page.press("body", "e")
    page.wait_for_selector("dialog [aria-label=Body]")
    page.fill("dialog [aria-label='First line']", "PUT /echo/b?x=2 HTTP/1.1")
    page.fill("dialog [aria-label=Fields]", "X-Kind: new\nContent-Type: text/plain")
    page.fill("dialog [aria-label=Body]", "second")
    page.click("dialog [data-do=send]")
    page.row(3)
    page.open(3, "Request")
    text = page.panel("second")
    assert "PUT /echo/b?x=2" in text
    assert "X-Kind: new" in text


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("curl", "--header 'X-Kind: old'"),
        ("requests", "requests.request("),
        ("httpx", "content=b'first'"),
        ("stub", "api.post('/upload', body=b'first').returns("),
        ("hook", "def on_response(context, response):"),
    ],
)
def test_a_request_is_copied_without_its_secrets(watch, look, kind, told):
    watched = watch()
    secret = {"X-Kind": "old", "Cookie": "sid=s3cret"}
    requests.post(f"{watched.url}/upload", data=b"first", headers=secret)
    page = look(watched.page.url)
    page.open(1)
    page.click("#side [data-do=copy]")
    page.click(f"dialog [data-copy={kind}]")
    page.wait_for_function(
        "told => document.querySelector('dialog textarea').value.includes(told)", arg=told
    )
    assert "s3cret" not in page.input_value("dialog textarea")


@pytest.mark.parametrize("mode", ["loop", "threads"])
def test_requests_answers_and_messages_are_held_edited_and_dropped(watch, look, mode):
    watched = watch(mode=mode)
    page = look(watched.page.url)
    page.click("[data-do=breakpoints]")
    page.fill("[aria-label='Filter of the breakpoint']", "path:/echo")
    page.check("dialog [data-stage=answer]")
    page.click("dialog [data-do=save-breakpoints]")
    page.wait_for_function("() => !document.querySelector('dialog').open")
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(requests.post(f"{watched.url}/echo/a", data=b"first"))
    )
    thread.start()
    page.wait_for_selector("#held article")
    page.fill("#held [aria-label='First line']", "PUT /echo/changed HTTP/1.1")
    page.fill("#held [aria-label=Body]", "edited")
    page.click("#held [data-do=go-edited]")
    page.wait_for_selector("#held article:has-text('200 OK to PUT /echo/changed')")
    page.fill("#held [aria-label='First line']", "HTTP/1.1 418 Teapot")
    page.click("#held [data-do=go-edited]")
    thread.join(10)
    (answer,) = answers
    assert (answer.status_code, answer.json()["body"]) == (418, "edited")
    assert answer.json()["method"] == "PUT"
    page.wait_for_selector(".line.edited[data-id='1']")


def test_messages_are_held_edited_and_dropped(watch, look):
    watched = watch()
    page = look(watched.page.url)
    page.click("[data-do=breakpoints]")
    page.fill("[aria-label='Filter of the breakpoint']", "type:ws")
    page.uncheck("dialog [data-stage=request]")
    page.check("dialog [data-stage=client]")
    page.click("dialog [data-do=save-breakpoints]")
    page.wait_for_function("() => !document.querySelector('dialog').open")
    chat = websocket_client.create_connection(watched.url.replace("http", "ws") + "/ws")
    chat.send("one")
    page.wait_for_selector("#held [aria-label=Message]")
    page.fill("#held [aria-label=Message]", "changed")
    page.click("#held [data-do=go-edited]")
    assert chat.recv() == "changed"
    chat.send("two")
    page.wait_for_function("() => document.querySelector('#held textarea')?.value === 'two'")
    page.click("#held article:has-text('Drop') [data-do=drop]")
    chat.send("three")
    page.wait_for_function("() => document.querySelector('#held textarea')?.value === 'three'")
    page.click("#held [data-do=go]")
    assert chat.recv() == "three"
    chat.close()


def test_what_is_held_goes_on_by_itself(watch, look):
    watched = watch()
    page = look(watched.page.url)
    page.click("[data-do=breakpoints]")
    page.fill("[aria-label='Seconds until it goes on']", "1")
    page.click("dialog [data-do=save-breakpoints]")
    page.wait_for_function("() => !document.querySelector('dialog').open")
    assert requests.get(f"{watched.url}/echo", timeout=10).status_code == 200


def test_har_goes_out_and_comes_in_again(watch, look, tmp_path):
    watched = watch()
    requests.post(f"{watched.url}/upload", data=b"body", headers={"Cookie": "sid=s3cret"})
    requests.get(f"{watched.url}/events?count=2&interval=0.01")
    page = look(watched.page.url)
    page.row(2)
    page.press("body", "h")
    with page.expect_download() as download:
        page.click("dialog [data-do=save]")
    path = tmp_path / "out.har"
    download.value.save_as(path)
    assert "s3cret" not in path.read_text()
    assert [entry.method for entry in read_har(path)] == ["POST", "GET"]
    page.click("dialog [data-do=close-dialog]")
    page.press("body", "x")
    page.wait_for_function("() => document.querySelector('#count').textContent === '0 exchanges'")
    page.press("body", "o")
    page.set_input_files("dialog input[type=file]", path)
    page.wait_for_selector("dialog:has-text('2 exchanges opened')")
    page.click("dialog [data-do=close-dialog]")
    page.row(3)
    page.open(4, "Events")
    page.panel("2 events")


HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202e\u0007"


def test_hostile_content_is_only_ever_text(watch, look):
    watched = watch()
    fired = []
    watched.router.add(
        "/<path:any>",
        lambda request, any: Response(
            json.dumps({HOSTILE: HOSTILE}),
            headers={"X-Evil": "<img src=x onerror=alert(3)>"},
            content_type="application/json",
        ),
    )
    with socket.create_connection(("127.0.0.1", watched.server.port)) as raw:
        target = b"/<script>alert(4)</script>?<img+src=x+onerror=alert(5)>"
        raw.sendall(
            b"GET " + target + b" HTTP/1.1\r\nHost: <b>h\r\nX-<: 1\r\nConnection: close\r\n\r\n"
        )
        while raw.recv(4096):
            pass
    requests.post(f"{watched.url}/x", data=b"\xff\xfe<script>alert(6)</script>")
    page = look(watched.page.url)
    page.on("dialog", lambda dialog: (fired.append(dialog.message), dialog.dismiss()))
    page.row(2)
    for number in (1, 2):
        for tab in ("Request", "Answer", "Timing"):
            page.open(number, tab)
    page.open(2, "Answer")
    page.panel("onerror=alert(1)")
    assert page.query_selector_all("#side img, #side script, #list script, #list img") == []
    assert page.evaluate("document.scripts.length") == 1
    assert fired == []


def test_a_large_document_and_many_messages_do_not_stop_the_page(watch, look):
    watched = watch(max_body=16 * 1024 * 1024)
    document = json.dumps([{"n": n, "text": "x" * 100} for n in range(80_000)])
    assert len(document) > 10_000_000
    watched.router.add(
        "/large", lambda request: Response(document, content_type="application/json")
    )
    requests.get(f"{watched.url}/large")
    page = look(watched.page.url)
    page.open(1, "Answer")
    page.panel("[ 80000 ]")
    assert page.evaluate("document.querySelectorAll('*').length") < 5000


def test_it_finds_the_server_again_after_a_restart(watch, look):
    watched = watch()
    page = look(watched.page.url)
    port = watched.page._server.port
    watched.page._server.shutdown()
    page.wait_for_selector("body[data-feed=lost]")
    assert "trying again" in page.inner_text("#notice")
    page.errors.clear()  # the browser reports a connection that it cannot make
    again = watched.inspector.open(port=port)
    try:
        page.goto(again.url)
        page.wait_for_selector("body[data-feed=open]")
    finally:
        page.errors.clear()
        again._server.shutdown()


def test_everything_can_be_done_with_the_keyboard(watch, look):
    watched = watch()
    for name in "abc":
        requests.get(f"{watched.url}/echo/{name}")
    page = look(watched.page.url)
    page.row(3)
    page.press("body", "j")
    page.panel("/echo/a")
    page.press("body", "j")
    page.panel("/echo/b")
    page.press("body", "G")
    page.panel("/echo/c")
    page.press("body", "k")
    page.panel("/echo/b")
    page.press("body", "p")
    page.wait_for_selector(".line.pinned[data-id='2']")
    page.press("body", "x")
    page.wait_for_function("() => document.querySelector('#count').textContent === '1 exchanges'")
    page.press("body", " ")
    page.wait_for_selector("[data-do=pause][aria-pressed=true]")
    page.press("body", "s")
    page.wait_for_selector("dialog svg[role=img]")
    page.keyboard.press("Escape")
    page.press("body", "?")
    page.wait_for_selector("dialog kbd")
    page.keyboard.press("Escape")
    page.press("body", "t")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_controls_have_names_and_it_fits_on_a_narrow_screen(watch, look):
    watched = watch()
    requests.get(f"{watched.url}/echo")
    page = look(watched.page.url)
    page.set_viewport_size({"width": 800, "height": 600})
    page.open(1)
    page.panel("GET /echo")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea, select')]
          .filter((c) => !(c.textContent.trim() || c.getAttribute('aria-label') || c.labels?.length)).length"""
    )
    assert nameless == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 400, "height": 400})  # 800 pixels at 200 percent
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
