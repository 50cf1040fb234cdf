"""Inspectors of real gateways, and a real browser that looks at them."""

import contextlib
import shutil

import pytest

from rolo.demo import DemoOrigin
from rolo.gateway import Gateway
from rolo.gateway.handlers import RouterHandler
from rolo.inspector import Inspector
from rolo.proxy import ProxyHandler
from rolo.routing import Router
from rolo.serving import serve

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Watched:
    """A proxy to the demo origin, beside a local endpoint, with an inspector."""

    def __init__(self, stack, mode="loop", hooks=(), **settings):
        origin_router = Router()
        origin_router.add(DemoOrigin())
        self.origin = stack.enter_context(serve(origin_router))
        self.router = Router()
        self.handler = ProxyHandler(self.origin.url)
        self.gateway = Gateway([RouterHandler(self.router), self.handler])
        self.inspector = Inspector(self.gateway, **settings)
        stack.callback(self.handler.close)
        self.handler.proxy.use([*hooks, self.inspector.hooks])
        self.server = stack.enter_context(
            serve(self.gateway, observers=[self.inspector.observer], mode=mode)
        )
        self.page = stack.enter_context(self.inspector.open())
        self.url = self.server.url


@pytest.fixture
def watch():
    """Return what makes a :class:`Watched`."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: Watched(stack, **options)


# Of a module: the driver has an event loop in the tests' thread for as long as it runs, which
# tests of other modules must not find there.
@pytest.fixture(scope="module")
def chromium():
    """A browser, or a skip with the reason where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Looking:
    """A page in the browser; what it logs as an error fails the test."""

    def __init__(self, tab, url):
        self.tab = tab
        self.errors = []
        tab.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.set_default_timeout(10_000)
        tab.goto(url)
        tab.wait_for_selector("body[data-feed=open]")

    def __getattr__(self, name):
        return getattr(self.tab, name)

    def row(self, number, state=":not(.open)"):
        """Wait for the row of an exchange."""
        return self.tab.wait_for_selector(f".line[data-id='{number}']{state}")

    def open(self, number, tab=None):
        """Open an exchange, and one of its tabs."""
        self.row(number, "")
        self.tab.dispatch_event(f".line[data-id='{number}']", "mousedown")
        self.tab.wait_for_selector("#side:not([hidden]) [role=tabpanel]")
        if tab is not None:
            self.tab.click(f"#side .head [role=tab]:text-is('{tab}')")

    def panel(self, text):
        """Wait until the detail shows ``text``."""
        self.tab.wait_for_function(
            "text => document.querySelector('#side')?.innerText.includes(text)", arg=text
        )
        return self.tab.inner_text("#side")

    def shown(self):
        """Return the numbers of the rows that the filter lets through."""
        return [
            int(n)
            for n in self.tab.eval_on_selector_all(
                "#list .line", "lines => lines.map(line => line.dataset.id)"
            )
        ]

    def filter(self, line, numbers):
        """Type a filter, and wait until exactly these rows are shown."""
        self.tab.fill("#filter", line)
        self.tab.wait_for_function(
            "numbers => JSON.stringify([...document.querySelectorAll('#list .line')]"
            ".map(line => Number(line.dataset.id))) === JSON.stringify(numbers)",
            arg=numbers,
        )


@pytest.fixture
def look(chromium):
    """Return what opens an inspector's page."""
    context = chromium.new_context(viewport={"width": 1300, "height": 800}, accept_downloads=True)
    opened = []

    def _look(url):
        page = Looking(context.new_page(), url)
        opened.append(page)
        return page

    yield _look
    context.close()
    for page in opened:
        assert page.errors == []
