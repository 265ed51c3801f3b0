"""The Models tab in a browser: family graph, leaderboard, filters, and what the buttons of a card do."""

from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip("pytest_playwright")
from playwright.sync_api import expect

from tasks import TASKS, figures
from tasks.tabs.menus import languages
from tests.app.test_page import CONTRAST
from zoo import catalog, lineage
from zoo.lineage import SYSTEMS

pytestmark = pytest.mark.browser


def view(visitor: Any, url: str, name: str) -> Any:
    """A view of the Models tab on a page that was just opened: "list", "lines" or "figures"."""
    visitor.goto(f"{url}?tab=models")
    visitor.page.locator("#models-table tr[data-name]").first.wait_for(state="attached")
    visitor.page.locator(f"#models-{name}-tab-button").click()
    shown = visitor.page.locator(f"#models-{name}-tab")
    expect(shown).to_be_visible()
    return shown


def node(shown: Any, key: str) -> Any:
    return shown.locator(f'.mz-graph [data-system="{key}"]')


def test_every_system_is_a_link_with_a_name(visitor, url):
    shown = view(visitor, url, "lines")
    expect(shown.locator(".mz-graph a")).to_have_count(len(SYSTEMS))
    expect(shown.get_by_role("link", name="BERT, Oct 2018, in the zoo")).to_be_visible()
    expect(shown.get_by_role("link", name="RoBERTa, Jul 2019", exact=True)).to_be_visible()
    expect(shown.locator(".mz-rails [data-mark]")).to_have_count(len(SYSTEMS))


def test_a_click_tells_what_a_system_changed(visitor, url):
    shown = view(visitor, url, "lines")
    panel = shown.get_by_role("region", name="The chosen system")
    node(shown, "xlnet").click()
    system = lineage.get("xlnet")
    expect(panel.get_by_role("heading", level=3)).to_be_focused()
    expect(panel.get_by_role("link", name=system.paper)).to_have_attribute("href", system.url)
    for text in (system.idea, *(parent.change for parent in system.parents)):
        expect(panel).to_contain_text(text)
    expect(node(shown, "xlnet")).to_have_attribute("aria-current", "true")
    expect(shown.locator("path.mz-hot")).to_have_count(len(system.parents))
    panel.get_by_role("link", name="Transformer-XL").click()
    expect(panel.get_by_role("heading", level=3)).to_have_text("Transformer-XL")
    expect(shown.locator(".mz-graph [aria-current]")).to_have_count(1)


def test_the_graph_works_by_keyboard(visitor, url):
    shown = view(visitor, url, "lines")
    node(shown, "gpt").focus()
    visitor.page.keyboard.press("Tab")
    expect(node(shown, "bert")).to_be_focused()
    visitor.page.keyboard.press("Enter")
    panel = shown.locator(".mz-panel")
    expect(panel.get_by_role("heading", level=3)).to_contain_text("BERT")
    visitor.page.keyboard.press("Escape")
    expect(panel).to_contain_text("Choose a system")
    expect(node(shown, "bert")).to_be_focused()


def test_a_checkpoint_of_the_graph_opens_its_card_in_the_table(visitor, url):
    listed = view(visitor, url, "list")
    listed.get_by_label("Find").fill("chinese")
    visitor.page.locator("#models-lines-tab-button").click()
    shown = visitor.page.locator("#models-lines-tab")
    node(shown, "tinybert").click()
    shown.locator(".mz-panel").get_by_role("button", name="tinybert-4l").click()
    expect(listed).to_be_visible()
    expect(listed.locator(".mz-card")).to_contain_text(catalog.get("tinybert-4l").about)
    expect(listed.get_by_role("button", name="tinybert-4l", exact=True)).to_be_focused()
    expect(listed.get_by_label("Find")).to_have_value("")
    visitor.page.locator("#models-lines-tab-button").click()
    expect(shown.locator(".mz-panel").get_by_role("heading", level=3)).to_contain_text("TinyBERT")


def test_the_list_below_the_graph_has_every_system(visitor, url):
    shown = view(visitor, url, "lines")
    entries = shown.locator(".mz-as-list article")
    expect(entries).to_have_count(len(SYSTEMS))
    expect(entries.first).to_be_hidden()
    shown.get_by_text("The graph as a list").click()
    expect(entries.first).to_contain_text(SYSTEMS[0].idea)


def test_the_views_fit_a_phone(visitor, url):
    visitor.page.set_viewport_size({"width": 360, "height": 740})
    try:
        for name, ready in (("list", "tr[data-name]"), ("lines", ".mz-graph a"), ("figures", ".mz-board")):
            shown = view(visitor, url, name)
            shown.locator(ready).first.wait_for()
            assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 360, name
        shown = view(visitor, url, "lines")
        cut = "(spans) => spans.filter((one) => one.getBoundingClientRect().right > 360).map((one) => one.textContent)"
        shown.locator(".mz-graph a").first.wait_for()
        assert shown.locator(".mz-graph a > span:first-child").evaluate_all(cut) == []
        node(shown, "deberta").click()
        expect(shown.locator(".mz-panel h3")).to_be_in_viewport()
        expect(node(shown, "deberta")).to_be_in_viewport()
    finally:
        visitor.page.set_viewport_size({"width": 1280, "height": 800})


def test_the_leaderboard_shows_the_data_that_are_chosen(visitor, url):
    shown = view(visitor, url, "figures")
    cells = list(dict.fromkeys((row.task, row.data, row.metric) for row in figures.read()))
    expect(shown.locator(".mz-board")).to_have_count(len(cells))
    expect(shown.locator(".mz-board:visible")).to_have_count(1)
    wanted = next(row for row in figures.read() if row.metric == "f1" and not row.baseline)
    shown.get_by_label("Data and measure").select_option(label=f"{wanted.data}, F1")
    board = shown.locator(".mz-board:visible")
    expect(board).to_have_count(1)
    expect(board.get_by_role("row", name=wanted.model)).to_contain_text(f"{wanted.value:.2f}")
    expect(board).to_contain_text(wanted.command)
    expect(board.get_by_role("img").first).to_be_visible()
    shown.get_by_label("Data and measure").select_option(label="all of them")
    expect(shown.locator(".mz-board:visible")).to_have_count(len(cells))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_small_print_of_the_views_can_be_read(visitor, url, theme):
    texts = {
        "list": (".mz-found", ".mz-filter label"),
        "lines": (".mz-legend span", ".mz-month", ".mz-gist", ".mz-built", ".mz-hint", ".mz-as-list summary"),
        "figures": (".mz-board small", ".mz-origin li", ".mz-board td", ".mz-source"),
    }
    visitor.goto(f"{url}?tab=models&__theme={theme}")
    for name, small in texts.items():
        visitor.page.locator(f"#models-{name}-tab-button").click()
        for text in small:
            one = visitor.page.locator(f"#models-{name}-tab").locator(text).first
            one.wait_for()
            assert one.evaluate(CONTRAST) >= 4.5, (text, one.evaluate(CONTRAST))


def test_filters_leave_what_fits_all_of_them(visitor, url):
    listed = view(visitor, url, "list")
    told = listed.get_by_role("status").filter(has_text="checkpoints")
    clear = listed.get_by_role("button", name="Clear")
    every = len(catalog.CHECKPOINTS)
    expect(told).to_have_text(f"All {every} checkpoints.")
    expect(clear).to_be_hidden()
    listed.get_by_label("Task").select_option(label=TASKS["qa"].title)
    listed.get_by_label("Language").select_option(label="Chinese")
    wanted = [row for row in catalog.by_task("qa") if "Chinese" in languages(row)]
    expect(listed.locator("tr[data-name]:visible")).to_have_count(len(wanted))
    expect(told).to_have_text(f"{len(wanted)} of {every} checkpoints.")
    listed.get_by_label("Size").select_option(label="up to 500 MB")
    fitting = [row for row in wanted if row.megabytes <= 500]
    assert 0 < len(fitting) < len(wanted)
    expect(told).to_have_text(f"{len(fitting)} of {every} checkpoints.")
    listed.get_by_label("Ready now").check()
    expect(listed.get_by_text("No checkpoint has all of this.")).to_be_visible()
    clear.press("Enter")
    expect(told).to_have_text(f"All {every} checkpoints.")
    expect(listed.get_by_label("Task")).to_have_value("")
    expect(listed.locator(".mz-family:visible")).to_have_count(len(catalog.FAMILIES) + 1)


def test_loading_and_unloading_keep_the_memory_true(visitor, url, engine):
    for name, _ in engine.loaded():
        engine.unload(name)
    listed = view(visitor, url, "list")
    listed.get_by_label("Find").fill("gpt-mini")
    listed.get_by_role("button", name="gpt-mini", exact=True).click()
    card = listed.locator(".mz-card")
    expect(listed).to_contain_text("Models in memory take 0 MB")
    card.get_by_role("button", name="Load", exact=True).click()
    expect(listed).to_contain_text("Models in memory take 50 MB of 1.0 GB.")
    expect(listed.locator('tr[data-name="gpt-mini"]')).to_contain_text("in memory")
    expect(listed.get_by_role("button", name="gpt-mini", exact=True)).to_be_focused()
    assert [name for name, _ in engine.loaded()] == ["gpt-mini"]
    expect(listed.locator("tr[data-name]:visible")).to_have_count(1)
    card.get_by_role("button", name="Unload from memory").click()
    expect(listed).to_contain_text("Models in memory take 0 MB")
    expect(card.get_by_role("button", name="Load", exact=True)).to_be_enabled()
    assert engine.loaded() == []


def test_the_list_tells_what_changed_while_another_tab_was_open(visitor, url, engine):
    for name, _ in engine.loaded():
        engine.unload(name)
    listed = view(visitor, url, "list")
    memory = listed.locator(".mz-memory")
    expect(memory).to_contain_text("take 0 MB")
    listed.get_by_role("button", name="elmo-mini", exact=True).click()
    listed.locator(".mz-card").get_by_role("button", name="Load", exact=True).click()
    expect(memory).to_contain_text("take 50 MB")
    listed.get_by_role("button", name="elmo-mini", exact=True).click()  # closed, as the list was when it was opened
    expect(listed.locator(".mz-card")).to_have_count(0)
    visitor.at(url, "nli")
    engine.unload("elmo-mini")  # as when another visitor's model needs the room: all is as it was first
    visitor.at(url, "models")
    expect(memory).to_contain_text("take 0 MB")


def test_a_button_tells_how_far_a_download_is(visitor, url, engine, monkeypatch):
    monkeypatch.setattr(engine, "fetching", {"distilgpt2": [0, 120_000_000, 900_000_000]})
    monkeypatch.setattr(engine, "pace", threading.Semaphore(0))
    listed = view(visitor, url, "list")
    listed.get_by_label("Find").fill("distilgpt2")
    listed.get_by_role("button", name="distilgpt2", exact=True).click()
    listed.get_by_role("button", name="Load", exact=True).click()
    size = catalog.get("distilgpt2").megabytes
    engine.pace.release()
    expect(listed.locator("[data-load]")).to_have_text(f"Fetching distilgpt2: 120 of {size} MB.")
    engine.pace.release()
    expect(listed.locator("#models-coming").get_by_role("status")).to_contain_text("all of it is here")
    engine.pace.release()
    expect(listed.get_by_role("button", name="Load", exact=True)).to_be_enabled()
    expect(listed.locator("#models-coming").get_by_role("status")).to_have_count(0)


def test_what_cannot_be_loaded_says_why(visitor, url):
    listed = view(visitor, url, "list")
    listed.get_by_label("Find").fill("distilgpt2")
    listed.get_by_role("button", name="distilgpt2", exact=True).click()
    listed.get_by_role("button", name="Load", exact=True).click()
    alert = listed.locator(".mz-card").get_by_role("alert")
    expect(alert).to_contain_text("distilgpt2 is not on this machine and there is no connection.")
    expect(listed.get_by_role("button", name="Load", exact=True)).to_be_enabled()
    listed.get_by_role("button", name="distilgpt2", exact=True).click()
    listed.get_by_role("button", name="distilgpt2", exact=True).click()
    expect(listed.locator(".mz-card")).to_be_visible()
    expect(alert).to_have_count(0)


@pytest.mark.parametrize(
    ("name", "task", "label"),
    [
        ("bert-mini", "classify", "BERT · bert-mini · topic · English · ready"),
        ("bert-tiny-mnli", "nli", "BERT · bert-tiny-mnli · English · 18 MB"),
    ],
)
def test_a_model_can_be_tried_in_a_task(visitor, url, name, task, label):
    listed = view(visitor, url, "list")
    listed.get_by_label("Find").fill(name)
    listed.get_by_role("button", name=name, exact=True).click()
    listed.get_by_role("button", name=f"Try in {TASKS[task].title}").click()
    panel = visitor.page.locator(f"#{task}-tab")
    expect(panel).to_be_visible()
    expect(panel.get_by_label("Model")).to_have_value(label)
    expect(visitor.page.locator(f"#{task}-tab-button")).to_be_focused()
    panel.get_by_role("button", name="Run").click()
    expect(panel.locator(".block.mz-output")).to_contain_text("total" if "mini" in name else f"{name} is not on this")


def test_a_model_can_be_compared_with_its_parent(visitor, url):
    listed = view(visitor, url, "list")
    listed.get_by_role("button", name="bert-mini", exact=True).click()
    button = listed.get_by_role("button", name="Compare with")
    other = button.get_attribute("data-compare")
    button.click()
    panel = visitor.page.locator("#compare-tab")
    expect(panel).to_be_visible()
    expect(panel.locator("#compare-models .token")).to_have_count(2)
    for name in ("bert-mini", other):
        expect(panel.locator("#compare-models")).to_contain_text(name)
    panel.locator("#compare-run").click()
    expect(panel.locator(".mz-column[data-model=bert-mini] .mz-verdict")).to_be_visible()


def test_the_snippet_can_be_copied(visitor, url):
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    listed = view(visitor, url, "list")
    listed.get_by_role("button", name="gpt-mini", exact=True).click()
    button = listed.get_by_role("button", name="Copy")
    button.click()
    expect(listed.get_by_role("button", name="Copied")).to_be_visible()
    assert "zoo.load('gpt-mini')" in visitor.page.evaluate("navigator.clipboard.readText()")
