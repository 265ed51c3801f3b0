"""axe-core finds nothing serious on any tab, light or dark, with an answer and its folds open."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pytest_playwright")
from axe_playwright_python.sync_playwright import Axe

from tasks.tabs.page import OTHERS, TABS

pytestmark = [pytest.mark.browser, pytest.mark.slow]
GRAVE = ("serious", "critical")
OWN_TABS = [tab.task for tab in TABS]


@pytest.fixture(scope="module", params=["light", "dark"])
def page_in_theme(request: pytest.FixtureRequest, browser: Any, url: str) -> Any:
    page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page.goto(f"{url}?__theme={request.param}")
    yield page
    page.close()


def grave(page: Any) -> list[str]:
    """What is wrong, and where: rule, impact, the first places."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in GRAVE
    ]


@pytest.mark.parametrize("name", [*OWN_TABS, *OTHERS])
def test_nothing_serious(page_in_theme: Any, name: str) -> None:
    page = page_in_theme
    page.locator(f"#{name}-tab-button").click()
    panel = page.locator(f"#{name}-tab")
    panel.wait_for()
    if name in OWN_TABS:
        panel.locator(f"#{name}-run").click()
        panel.locator(".mz-time").first.wait_for()
        for fold in panel.locator("[id$='-fold'] > button").all():
            fold.click()
        panel.locator(f"#{name}-share-run").click()
        panel.locator(".mz-code").first.wait_for()
    elif name == "compare":
        panel.locator("#compare-run").click()
        panel.locator(".mz-column .mz-time").first.wait_for()
    elif name == "models":
        panel.locator("#models-table tr[data-name] button").first.click()
        panel.locator(".mz-card").wait_for()
    page.wait_for_timeout(400)
    assert grave(page) == []
    if name == "models":
        for view in ("models-lines", "models-figures"):
            page.locator(f"#{view}-tab-button").click()
            page.wait_for_timeout(800)
            assert grave(page) == []
