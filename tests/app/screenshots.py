"""Pictures of the page with the real models: `python tests/app/screenshots.py` writes the two of the README into docs/,
`python tests/app/screenshots.py docs/screenshots --all` one of every tab in each size."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
SIZES = {"desktop": (1280, 800), "phone": (360, 740)}
RESULT = ".mz-result:visible"


@dataclass(frozen=True)
class View:
    """A tab, or a part of one: how to come to it, and what is there when it can be photographed."""

    name: str
    tab: str
    press: str = ""  # what is clicked, once the tab is open
    shown: str = RESULT


VIEWS = (
    View("entail", "nli"),
    View("answer", "qa"),
    View("classify", "classify"),
    View("summarize", "summarize"),
    View("compare", "compare", "#compare-run", "#compare-output .mz-look"),
    View("tokens", "tokens", "#tokens-run", "#tokens-output .mz-result"),
    View("batch", "batch", "#batch-run", "#batch-table table"),
    View("models", "models", "", "#models-table tr[data-name]"),
    View("family-graph", "models", "#models-lines-tab-button", "#models-graph svg"),
    View("leaderboard", "models", "#models-figures-tab-button", "#models-board table"),
)


def take(browser: Any, url: str, view: View, size: str, theme: str, path: Path, full: bool) -> None:
    """Photograph a view in a new page."""
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"{url}?tab={view.tab}&__theme={theme}")
    page.locator(f"#{view.tab}-tab-button[aria-selected=true]").first.wait_for()
    if view.press:
        page.locator(view.press).first.click()
    page.locator(view.shown).first.wait_for()
    page.wait_for_timeout(400)
    if view.press and not full:  # so that what was pressed for is seen
        page.locator(view.shown).first.scroll_into_view_if_needed()
    page.screenshot(path=path, full_page=full)
    page.close()


def main() -> None:
    """Serve the page with the real models and photograph every tab."""
    from playwright.sync_api import sync_playwright

    from tests.app.serving import LAUNCH, serve
    from zoo import Engine

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs")
    parser.add_argument("--full", action="store_true", help="the whole height of the page")
    parser.add_argument("--all", action="store_true", help="every tab in each size; else the first one")
    parser.add_argument("--dark", action="store_true", help="in the dark theme")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    theme = "dark" if options.dark else "light"
    with serve(Engine()) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(**LAUNCH)
        for size in SIZES:
            for view in VIEWS if options.all else VIEWS[:1]:
                name = (
                    f"{view.name}-{size}" if options.all else "screenshot" + ("" if size == "desktop" else f"-{size}")
                )
                take(browser, url, view, size, theme, options.folder / f"{name}.png", options.full)
        browser.close()


if __name__ == "__main__":
    main()
