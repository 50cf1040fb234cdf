"""Takes the pictures of the inspector that stand in the README and the docs::

    python docs/screenshots.py

Needs playwright and a Chromium (``chromium``), as the inspector's tests do.
"""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import threading

import requests
import websocket
from playwright.sync_api import sync_playwright

from rolo.demo import demo_origin
from rolo.gateway import Gateway
from rolo.inspector import Inspector
from rolo.proxy import Hooks, ProxyHandler
from rolo.serving import serve

DOCS = pathlib.Path(__file__).parent


class Brand(Hooks):
    """What hooks change is shown as a diff."""

    def on_outgoing(self, context, outbound):
        outbound.headers["X-Edge"] = "berlin-1"

    def on_response(self, context, response):
        response.headers["X-Brand"] = "acme"


def traffic(url: str) -> threading.Event:
    """Send some of everything; a websocket stays open until the event is set."""
    for name in ("shoes", "hats", "socks"):
        requests.get(f"{url}/echo/{name}?page=2", headers={"Authorization": "Bearer secret"})
    order = {"id": 7, "tags": ["new", "gift"], "to": {"city": "Basel", "zip": 4051}}
    requests.post(f"{url}/echo/orders", json=order)
    requests.get(f"{url}/nowhere")
    requests.post(f"{url}/upload", data=b"x" * 50_000)
    requests.get(f"{url}/download/2000000")
    requests.get(f"{url}/events?count=5&interval=0.02")
    done = threading.Event()

    def chat() -> None:
        socket = websocket.create_connection(url.replace("http", "ws") + "/ws")
        for text in ("hello", '{"type": "subscribe", "topics": ["prices"]}', "how are you?"):
            socket.send(text)
            socket.recv()
        done.wait(60)
        socket.close()

    threading.Thread(target=chat, daemon=True).start()
    return done


def main() -> None:
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(serve(demo_origin()))
        handler = stack.enter_context(contextlib.closing(ProxyHandler(origin.url)))
        gateway = Gateway([handler])
        inspector = Inspector(gateway)
        handler.proxy.use([Brand(), inspector.hooks])
        server = stack.enter_context(serve(gateway, observers=[inspector.observer], mode="loop"))
        page = stack.enter_context(inspector.open())
        done = traffic(server.url)
        stack.callback(done.set)
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        stack.callback(browser.close)
        for name, theme, number, tab in (
            ("inspector.png", "light", 4, "Upstream"),
            ("inspector-dark.png", "dark", 9, "Messages"),
        ):
            shown = browser.new_page(viewport={"width": 1440, "height": 720}, color_scheme=theme)
            shown.goto(page.url)
            shown.wait_for_selector(".line[data-id='9']")
            shown.dispatch_event(f".line[data-id='{number}']", "mousedown")
            shown.click(f"#side .head [role=tab]:text-is('{tab}')")
            shown.wait_for_timeout(400)
            shown.screenshot(path=DOCS / name)


if __name__ == "__main__":
    main()
