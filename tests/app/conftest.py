"""A page over a fake engine and one over the real models, and a browser that reports what it should not have seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.app.fake import FakeEngine
from tests.app.serving import BROWSER, LAUNCH, serve
from zoo import Engine

PATIENCE = 30_000  # milliseconds; a busy machine is no failure


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any], playwright: Any) -> dict[str, Any]:
    """The machine's own browser before playwright's; where there is neither, the tests fail and say so."""
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE)
    if BROWSER is None and not Path(playwright.chromium.executable_path).exists():
        pytest.fail("no Chromium: install one, set CHROMIUM, or run `playwright install chromium`")
    return {**browser_type_launch_args, **LAUNCH}


@pytest.fixture(scope="session")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="session")
def url(engine: FakeEngine) -> Iterator[str]:
    """The page over the fake engine."""
    with serve(engine) as address:
        yield address


@pytest.fixture(scope="session")
def real_engine() -> Engine:
    return Engine()


@pytest.fixture(scope="session")
def real_url(real_engine: Engine) -> Iterator[str]:
    """The page over the embedded models."""
    with serve(real_engine) as address:
        yield address


def still(count: Callable[[], int], seconds: float = 0.8) -> int:
    """The count once it has not grown for so long: what counts has ended its work. A busy machine may take a while."""
    deadline, known, since = time.monotonic() + PATIENCE / 1000, count(), time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if count() != known:
            known, since = count(), time.monotonic()
        elif time.monotonic() - since > seconds:
            return known
    pytest.fail(f"after {PATIENCE / 1000:.0f} s it still goes on")


class Visitor:
    """A browser page that must ask no other host for anything, and log no error."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.wrong: list[str] = []
        self.underway: set[Any] = set()
        self.fresh = True  # the page was loaded, and nothing was done in it
        page.on("request", self._asked)
        page.on("requestfinished", self._answered)
        page.on("requestfailed", self._answered)
        page.on("console", lambda message: self.wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.set_default_timeout(PATIENCE)

    def _asked(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.wrong.append(f"asked {request.url}")
        if "/queue/" in parts.path or "/run/" in parts.path:
            self.underway.add(request)

    def _answered(self, request: Any) -> None:
        self.underway.discard(request)

    def settle(self) -> None:
        """Wait until nothing that the page asked for is under way; who leaves before is told of a broken connection."""
        quiet, deadline = 0, time.monotonic() + PATIENCE / 1000
        while quiet < 3 and time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
            quiet = 0 if self.underway else quiet + 1

    def goto(self, url: str) -> Any:
        """Open an address once the page that is open has what it asked for."""
        self.settle()
        self.fresh = True
        return self.page.goto(url)

    def reload(self) -> Any:
        """The same for a page that is loaded again."""
        self.settle()
        self.fresh = True
        return self.page.reload()

    def at(self, url: str, tab: str) -> Any:
        """The panel of a task's tab; a page that is open already is not loaded again.

        A tab that was just opened is given the moment that a person needs to see it: what is filled in while Gradio
        still puts it together may be taken back.
        """
        if not self.page.url.startswith(url):
            self.goto(url)
        button, panel = self.page.locator(f"#{tab}-tab-button"), self.page.locator(f"#{tab}-tab")
        opened = button.get_attribute("aria-selected") != "true"
        button.click()
        panel.wait_for()
        if opened or self.fresh:
            self.settle()
            self.fresh = False
        return panel

    def unfold(self, panel: Any) -> None:
        """Open the fold with options, with a moment for Gradio to put together what is in it."""
        panel.get_by_role("button", name="Advanced").click()
        self.settle()


@pytest.fixture(scope="module")
def shared(browser: Any) -> Iterator[Visitor]:
    """One page for all tests of a file, since opening one takes longer than most tests."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    yield Visitor(page)
    page.close()


@pytest.fixture
def visitor(shared: Visitor) -> Iterator[Visitor]:
    shared.wrong.clear()
    yield shared
    assert not shared.wrong
