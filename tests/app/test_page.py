"""The page as a whole in a browser: which tab opens, phones, both themes, the Models tab."""

from __future__ import annotations

import pytest

pytest.importorskip("pytest_playwright")
from playwright.sync_api import expect

from tasks.tabs.menus import absent
from tasks.tabs.menus import rows as in_menu
from tasks.tabs.page import TABS
from zoo import catalog, parity
from zoo.contracts import LayerMix

pytestmark = pytest.mark.browser
NAMES = [tab.task for tab in TABS]
TITLES = [tab.title for tab in TABS]


@pytest.mark.parametrize(
    ("query", "title"), [("", "Entail"), ("?tab=answer", "Answer"), ("?tab=qa", "Answer"), ("?tab=nonsense", "Entail")]
)
def test_the_address_chooses_the_tab(visitor, url, query, title):
    visitor.goto(url + query)
    expect(visitor.page.get_by_role("tab", name=title)).to_have_attribute("aria-selected", "true")
    expect(visitor.page.locator(".block.mz-output:visible")).to_contain_text("saved result")


def test_the_page_says_what_it_is_and_what_it_keeps(visitor, url):
    visitor.goto(url)
    expect(visitor.page.get_by_role("heading", name="Model Zoo")).to_be_visible()
    expect(visitor.page.get_by_text("Nothing you type leaves this server.")).to_be_visible()
    expect(visitor.page).to_have_title("Model Zoo")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_scrolls_only_down(visitor, url, theme):
    visitor.page.set_viewport_size({"width": 360, "height": 740})
    try:
        visitor.goto(f"{url}?__theme={theme}")
        for title in [*TITLES, "Batch", "Models"]:
            visitor.page.get_by_role("tab", name=title).click()
            name = next((tab.task for tab in TABS if tab.title == title), title.lower())
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


def opened(visitor, url, family=""):
    """The Models tab as it is on arrival, and one family unfolded."""
    visitor.goto(f"{url}?tab=models")
    panel = visitor.page.locator("#models-tab")
    panel.locator("tr[data-name]").first.wait_for(state="attached")
    if family:
        panel.locator(f'[data-family="{family}"] > summary').click()
    return panel


def test_models_lists_the_whole_catalog_and_opens_a_card(visitor, url):
    row = next(row for row in reversed(catalog.CHECKPOINTS) if not row.embedded)
    panel = opened(visitor, url, row.family)
    expect(panel.locator("tr[data-name]")).to_have_count(len(catalog.CHECKPOINTS))
    button = panel.get_by_role("button", name=row.name, exact=True)
    button.click()
    expect(panel.locator(".mz-card")).to_contain_text(row.about)
    expect(panel.locator(".mz-card")).to_contain_text(row.source)
    expect(panel.locator(".mz-card a").last).to_have_attribute("href", f"https://huggingface.co/{row.source}")
    expect(button).to_be_focused()
    button.click()
    expect(panel.locator(".mz-card")).to_have_count(0)
    expect(button).to_be_visible()


def test_every_family_has_a_fold_with_its_paper(visitor, url):
    panel = opened(visitor, url)
    expect(panel.locator(".mz-family")).to_have_count(len(catalog.FAMILIES) + 1)
    for family in catalog.FAMILIES:
        fold = panel.locator(f'[data-family="{family.name}"]')
        expect(fold.locator("summary")).to_contain_text(family.about)
        expect(fold.locator("tbody")).to_be_hidden()
        fold.locator("summary").click()
        expect(fold.get_by_role("link", name=family.paper).first).to_have_attribute("href", family.url)
        expect(fold.locator("tbody tr").first).to_be_visible()


def test_find_leaves_the_checkpoints_that_have_all_words(visitor, url):
    panel = opened(visitor, url)
    panel.get_by_label("Find").fill("Chinese entail")
    wanted = [row.name for row in catalog.by_task("nli") if "zh" in row.languages]
    expect(panel.locator("tr[data-name]:visible")).to_have_count(len(wanted))
    for name in wanted:
        expect(panel.get_by_role("button", name=name, exact=True)).to_be_visible()
    panel.get_by_role("button", name=wanted[0], exact=True).click()
    expect(panel.locator(".mz-card")).to_be_visible()
    expect(panel.locator("tr[data-name]:visible")).to_have_count(len(wanted))
    panel.get_by_label("Find").fill("nothing has these words")
    expect(panel.get_by_text("No checkpoint has all of this.")).to_be_visible()
    expect(panel.locator(".mz-family:visible")).to_have_count(0)
    panel.get_by_label("Find").fill("")
    expect(panel.locator(".mz-family:visible")).to_have_count(len(catalog.FAMILIES) + 1)


def test_the_parity_table_is_behind_a_fold(visitor, url):
    panel = opened(visitor, url)
    rows = parity.read()
    fold = panel.locator(".mz-parity")
    expect(fold.locator("summary")).to_contain_text(parity.overall(rows))
    expect(fold.locator("table")).to_be_hidden()
    fold.locator("summary").click()
    expect(fold.locator("tbody tr:has(td)")).to_have_count(len(parity.lines(rows)))
    panel.get_by_role("button", name="bert-mini", exact=True).click()
    expect(panel.locator(".mz-card")).to_contain_text(str(parity.summary("bert", rows))[1:])


def test_layers_that_a_head_learned_to_mix_are_shown_while_in_memory(visitor, url, engine):
    engine.unload("bert-mini")
    panel = opened(visitor, url)
    panel.get_by_role("button", name="bert-mini", exact=True).click()
    expect(panel.locator(".mz-card")).not_to_contain_text("Layers read by")
    engine.mixes = [("nli", LayerMix((0.125, 0.25, 0.625), 0.9))]
    engine.model("bert-mini")
    try:
        panel = opened(visitor, url)
        panel.get_by_role("button", name="bert-mini", exact=True).click()
        card = panel.locator(".mz-card")
        expect(card).to_contain_text("Layers read by nli")
        expect(card.locator("li").last).to_have_text("layer 262.5%")
        expect(card).to_contain_text("their sum times 0.900")
    finally:
        engine.mixes = []
        engine.unload("bert-mini")


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


CONTRAST = """(element) => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  let behind = element;
  while (behind && (numbers(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
  const values = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(numbers).map(light);
  return (Math.max(...values) + 0.05) / (Math.min(...values) + 0.05);
}"""
TEXTS = {
    "summarize": (".mz-absent summary", ".mz-absent summary span", ".mz-absent small", ".mz-absent li"),
    "models": (
        ".mz-memory", ".mz-family h3", ".mz-family summary p", ".mz-family summary span", ".mz-paper", ".mz-paper a",
        ".mz-source-id", ".mz-models th", ".mz-models button", ".mz-state", ".mz-parity summary", ".mz-parity td",
        ".mz-parity > p",
    ),
}  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("tab", TEXTS)
def test_small_print_can_be_read(visitor, url, tab, theme):
    visitor.goto(f"{url}?tab={tab}&__theme={theme}")
    panel = visitor.page.locator(f"#{tab}-tab")
    for text in TEXTS[tab]:
        one = panel.locator(text).first
        one.wait_for(state="attached")
        assert one.evaluate(CONTRAST) >= 4.5, (text, one.evaluate(CONTRAST))


@pytest.mark.parametrize("name", NAMES)
def test_the_menu_offers_what_the_catalog_has(visitor, url, name):
    panel = visitor.at(url, name)
    panel.get_by_label("Model").click()
    options = visitor.page.get_by_role("option")
    rows = in_menu(name)
    expect(options).to_have_count(sum(len(row.tasks[name]) for row in rows))
    expect(options.first).to_contain_text(f"{rows[0].name} · ")
    expect(options.first).to_contain_text("ready")
    expect(options.last).to_contain_text(f"{rows[-1].name} · ")
    visitor.page.keyboard.press("Escape")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_in_the_menu_is_listed_below_it_with_the_reason(visitor, url, name):
    panel = visitor.at(url, name)
    without = absent(name)
    fold = panel.locator(".mz-absent")
    expect(fold).to_have_count(1 if without else 0)
    for family, why in without:
        expect(fold.locator("summary")).to_contain_text(family.title)
        expect(fold.get_by_text(why)).to_be_hidden()
    if without:
        fold.locator("summary").click()
        expect(fold.get_by_text(without[0][1])).to_be_visible()
