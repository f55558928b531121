"""The pytest plugin's browser: real Chromium on the real app on a real port, and what every page has to be.

`browser_page(service)` gives a `Visit`; `visit.open("/users")` goes there and `visit.check()` judges what it found.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from hivematrix_common import sessions
from hivematrix_common.testing import Service

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
# What a screen reader or a tired eye would miss; each entry is a sentence, none is a good page.
_JUDGE = (Path(__file__).parent / "testing_browser.js").read_text(encoding="utf-8")


@dataclass
class Visit:
    """One person's browser on one service. Everything the console said is kept."""

    page: Any
    url: str
    said: list[str] = field(default_factory=list)

    def open(self, path: str = "/", status: int = 200) -> Any:
        answer = self.page.goto(self.url + path if path.startswith("/") else path)
        assert answer.status == status, f"{path}: {answer.status}, {answer.text()[:400]}"
        return self.page

    def faults(self) -> list[str]:
        """What is wrong with the page as it stands: console, structure, names, contrast."""
        return self.said + list(self.page.evaluate(_JUDGE))

    def check(self) -> None:
        """The page is sound narrow and wide, dark and light."""
        found = []
        for size in (NARROW, WIDE):
            self.page.set_viewport_size(size)
            for theme in ("dark", "light"):
                self.page.emulate_media(color_scheme=theme)
                self.page.evaluate("theme => document.documentElement.dataset.bsTheme = theme", theme)
                found += [f"{size['width']} px, {theme}: {fault}" for fault in self.faults()]
        assert found == []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser takes seconds: the inner loop goes without."""
    for item in items:
        if "browser_page" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for the whole session."""
    from playwright.sync_api import sync_playwright  # tests without a browser need not load it

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Service], str]]:
    """`serve(service)`: its app on its configured port, else on any; returns the address."""
    served: dict[int, str] = {}
    with ExitStack() as stack:

        def start(service: Service) -> str:
            if id(service) in served:
                return served[id(service)]
            server = make_server("127.0.0.1", service.settings.service.port, service.app, threaded=True)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            served[id(service)] = f"http://127.0.0.1:{server.server_port}"
            return served[id(service)]

        yield start


@pytest.fixture
def browser_page(chromium: Any, serve: Callable[[Service], str]) -> Iterator[Callable[..., Visit]]:
    """`browser_page(service, person="auditor", script=True)`: a browser of that person's own on the running service."""
    with ExitStack() as stack:

        def visit(service: Service, person: str | None = None, *, script: bool = True, **claims: Any) -> Visit:
            context = chromium.new_context(
                java_script_enabled=script, viewport=WIDE, locale="en-GB", reduced_motion="reduce"
            )
            stack.callback(context.close)
            made = Visit(context.new_page(), serve(service))
            if person:
                token, name = service.sign_in(person, **claims), sessions.cookie_name(service.settings)
                context.add_cookies([{"name": name, "value": token, "url": made.url}])
            made.page.on("console", lambda line: _note(made, line))
            made.page.on("pageerror", lambda error: made.said.append(f"script: {error}"))
            return made

        yield visit


def _note(visit: Visit, line: Any) -> None:
    # A page that answers 403 or 404 is told in the console too; that is the page's matter, not a fault of it.
    if line.type in {"error", "warning"} and "Failed to load resource" not in line.text:
        visit.said.append(f"console: {line.text}")
