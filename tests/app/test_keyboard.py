"""The main path without a mouse: choose a tab, write, run, read the answer, ask why, take the link; in both languages,
wide and narrow. What has the focus shows it.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pytest_playwright")
from playwright.sync_api import expect

from tests.app.conftest import PATIENCE

pytestmark = pytest.mark.browser
MOST = 60  # presses of Tab until something must have been reached
# What the eye sees of the focus: an outline, a shadow or a border that the same element lacks without it.
SEEN = """() => {
  const one = document.activeElement, look = () => {
    return [one, one.parentElement, one.closest('label, .wrap, .block')].filter(Boolean).map((e) => {
      const s = getComputedStyle(e);
      return [s.outlineStyle === 'none' ? '' : s.outline, s.boxShadow, s.borderColor, s.backgroundColor].join('|');
    }).join(' ');
  };
  const focused = look();
  one.blur();
  const without = look();
  one.focus();
  return focused !== without;
}"""


def reach(page: Any, selector: str) -> None:
    """Press Tab until the focus is on what the selector names, and see that it shows."""
    for _ in range(MOST):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} was not reached in {MOST} steps")


def shown(page: Any) -> bool:
    page.wait_for_timeout(300)  # transitions of borders and shadows
    return bool(page.evaluate(SEEN))


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_main_path(browser: Any, url: str, width: int, language: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, reduced_motion="reduce")
    page.set_default_timeout(PATIENCE)
    page.goto(f"{url}?lang={language}")
    page.locator("#nli-run").click(trial=True)  # drawn
    reach(page, "#tabs [role=tab][aria-selected=true]")
    assert shown(page)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#qa-tab-button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#qa-tab")).to_be_visible()

    reach(page, "#qa-tab textarea")
    assert shown(page)
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("Who wrote the first program?")
    reach(page, "#qa-tab textarea")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("Ada wrote the first program.")
    reach(page, "#qa-run")
    assert shown(page)
    page.keyboard.press("Enter")
    expect(page.locator("#qa-output .mz-time").first).to_be_visible()
    expect(page.locator("#qa-output")).to_contain_text("Ada")

    for fold in ("#qa-why-fold", "#qa-share-fold"):
        reach(page, f"{fold} > button")
        assert shown(page)
        page.keyboard.press("Enter")
    reach(page, "#qa-share-run")
    page.keyboard.press("Enter")
    expect(page.locator("#qa-tab .mz-code").first).to_be_visible()
    page.close()
