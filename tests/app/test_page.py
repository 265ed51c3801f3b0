"""The page as a whole in a browser: which tab opens, phones, both themes, the Models tab."""

from __future__ import annotations

import pytest

pytest.importorskip("pytest_playwright")
from playwright.sync_api import expect

from tasks.tabs.page import TABS
from zoo import catalog

pytestmark = pytest.mark.browser
NAMES = [tab.task for tab in TABS]
TITLES = [tab.title for tab in TABS]


@pytest.mark.parametrize(
    ("query", "title"), [("", "Entail"), ("?tab=answer", "Answer"), ("?tab=qa", "Answer"), ("?tab=nonsense", "Entail")]
)
def test_the_address_chooses_the_tab(visitor, url, query, title):
    visitor.page.goto(url + query)
    expect(visitor.page.get_by_role("tab", name=title)).to_have_attribute("aria-selected", "true")
    expect(visitor.page.locator(".block.mz-output:visible")).to_contain_text("saved result")


def test_the_page_says_what_it_is_and_what_it_keeps(visitor, url):
    visitor.page.goto(url)
    expect(visitor.page.get_by_role("heading", name="Model Zoo")).to_be_visible()
    expect(visitor.page.get_by_text("Nothing you type leaves this server.")).to_be_visible()
    expect(visitor.page).to_have_title("Model Zoo")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_scrolls_only_down(visitor, url, theme):
    visitor.page.set_viewport_size({"width": 360, "height": 740})
    try:
        visitor.page.goto(f"{url}?__theme={theme}")
        for title in [*TITLES, "Models"]:
            visitor.page.get_by_role("tab", name=title).click()
            name = next((tab.task for tab in TABS if tab.title == title), "models")
            panel = visitor.page.locator(f"#{name}-tab")
            expect(panel).to_be_visible()
            if name != "models":
                expect(panel.get_by_role("button", name="Run")).to_be_visible()
            assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 360, title
        panel = visitor.at(url, "nli")
        panel.get_by_role("button", name="Run").click()
        expect(panel.locator(".block.mz-output")).to_contain_text("total")
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 360
    finally:
        visitor.page.set_viewport_size({"width": 1280, "height": 800})


def test_models_lists_the_whole_catalog_and_opens_a_card(visitor, url):
    visitor.page.goto(url)
    panel = visitor.at(url, "models")
    expect(panel.locator("tr[data-name]")).to_have_count(len(catalog.CHECKPOINTS))
    row = catalog.CHECKPOINTS[-1]
    panel.get_by_role("button", name=row.name, exact=True).click()
    expect(panel.locator(".mz-card")).to_contain_text(row.about)
    expect(panel.locator(".mz-card")).to_contain_text(row.source)
    expect(panel.locator(".mz-card a").last).to_have_attribute("href", f"https://huggingface.co/{row.source}")
    panel.get_by_role("button", name=row.name, exact=True).click()
    expect(panel.locator(".mz-card")).to_have_count(0)


def test_a_model_in_memory_is_shown_and_can_be_unloaded(visitor, url, engine):
    engine.unload("bert-mini")
    engine.unload("gpt-mini")
    panel = visitor.at(url, "nli")
    panel.get_by_role("button", name="Run").click()
    expect(panel.locator(".block.mz-output")).to_contain_text("total")
    panel = visitor.at(url, "models")
    line = panel.locator('tr[data-name="bert-mini"]')
    expect(line).to_contain_text("in memory")
    expect(panel).to_contain_text("Models in memory take 50 MB of 1.0 GB.")
    if not panel.locator(".mz-card").count():
        line.get_by_role("button").click()
    panel.get_by_role("button", name="Unload from memory").click()
    expect(line).to_contain_text("ready")
    assert engine.loaded() == []


@pytest.mark.parametrize("name", NAMES)
def test_the_menu_offers_what_the_catalog_has(visitor, url, name):
    panel = visitor.at(url, name)
    panel.get_by_label("Model").click()
    options = visitor.page.get_by_role("option")
    rows = catalog.by_task(name)
    expect(options).to_have_count(sum(len(row.tasks[name]) for row in rows))
    expect(options.first).to_contain_text(f"{rows[0].name} (ready)")
    expect(options.last).to_contain_text(f"will download {rows[-1].megabytes:,} MB")
    visitor.page.keyboard.press("Escape")
