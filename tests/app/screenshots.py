"""Pictures of the page: `python tests/app/screenshots.py [FOLDER]` writes screenshot-*.png, docs/ by default."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
SIZES = {"desktop": (1280, 800), "phone": (360, 740)}
TABS = ("Entail", "Answer", "Classify", "Summarize", "Compare", "Tokens", "Batch", "Models")


def main() -> None:
    """Serve the page with the real models and photograph every tab."""
    from playwright.sync_api import sync_playwright

    from tests.app.serving import LAUNCH, serve
    from zoo import Engine

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "docs")
    parser.add_argument("--full", action="store_true", help="the whole height of the page")
    parser.add_argument("--all", action="store_true", help="every tab, size and theme; else one of each size")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with serve(Engine()) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(**LAUNCH)
        for size, (width, height) in SIZES.items():
            for theme in ("light", "dark") if options.all else ("light",):
                for tab in TABS if options.all else TABS[:1]:
                    page = browser.new_page(viewport={"width": width, "height": height})
                    page.goto(f"{url}?tab={tab.lower()}&__theme={theme}")
                    page.get_by_role("tab", name=tab, selected=True).wait_for()
                    shown = "#models-table tr[data-name]" if tab == "Models" else ".mz-result:visible"
                    page.locator(shown).first.wait_for()
                    page.wait_for_timeout(300)
                    name = f"-{tab.lower()}-{size}-{theme}" if options.all else "" if size == "desktop" else f"-{size}"
                    page.screenshot(path=options.folder / f"screenshot{name}.png", full_page=options.full)
                    page.close()
        browser.close()


if __name__ == "__main__":
    main()
