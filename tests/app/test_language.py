"""The page in Chinese: all that it says itself is translated, and nothing that a visitor or a model says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasks.tabs import language
from tasks.tabs.page import TABS
from zoo import catalog, lineage

ROOT = Path(language.__file__).parents[2]
GRADIO = {  # sentences of Gradio's own components
    "Use via API", "Settings", "Stop Recording", "Gradio footer navigation", "Remove {}", "Reset to default value",
    "number input for {}", "range slider for {}", "Drop File Here", "- or -", "Click to Upload",
    "Click to upload or drop files", "File upload", "Loading", "Loading...", "processing |", "queue: {} |",
}  # fmt: skip
COMPOSED = {  # put together from words in the code
    "What speaks for the answer", "What speaks for the token", "Hide special tokens", "Show special tokens",
    "Both say {}.", "All three say {}.", "All four say {}.", ": {} rows, reads", "{} models answered {} rows.",
    "1 model answered {} rows.", ". Here: exact, worst difference {} from {}", "{} rows, less is better",
    "{} families, {} comparisons of {} M numbers, worst difference {}, allowed {}.",
}  # fmt: skip
NAMES = re.compile(
    r"BERT|ELMo|GPT(-2)?|ULMFiT|XLNet|TL;DR|Top-k|F1|ROUGE-[12L]|@ \w+|curl|Python|gradio_client|\S+-mini\S*"
)
LEFT = """() => {
  const theirs = "script, style, textarea, pre, code, bdi, blockquote, [translate=no], .mz-text, .mz-words, "
    + ".mz-pieces, .mz-said, .mz-tail, .mz-map, .mz-after, [role=listbox]";
  const found = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.data.trim(), around = walk.currentNode.parentElement;
    if (/[A-Za-z]{2}/.test(text) && !/[\\u4e00-\\u9fff]/.test(text) && !around.closest(theirs)) found.add(text);
  }
  return [...found];
}"""


def said_in_python() -> str:
    """All sentences of the project's own code, with neither line breaks nor the quotes between two parts."""
    files = [
        *ROOT.glob("tasks/**/*.py"),
        *ROOT.glob("tasks/**/*.js"),
        *ROOT.glob("zoo/**/*.py"),
        ROOT / "zoo/parity.json",
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return re.sub(r"[\"']\s*\n\s*f?[\"']", "", text).replace("\\n", " ")


def test_each_sentence_of_the_table_is_said_somewhere() -> None:
    """A sentence that is changed in the code must be changed in the table, too."""
    known = said_in_python()
    strange = [
        english for english in language.chinese()
        if english not in GRADIO | COMPOSED and max(re.split(r"\{\}|\d+", english), key=len).strip(" .,:;") not in known
    ]  # fmt: skip
    assert not strange


def test_a_translation_repeats_only_what_the_sentence_holds() -> None:
    for english, chinese in language.chinese().items():
        used = {int(number) for number in re.findall(r"\{(\d)\}", chinese)}
        assert used <= set(range(1, 1 + english.count("{}"))), english
        assert re.search(r"[\u4e00-\u9fff]", chinese) or english in ("Token", "Top-k"), english


def test_the_catalog_and_the_family_graph_are_translated() -> None:
    said = {one for system in lineage.SYSTEMS for one in (system.idea, *(parent.change for parent in system.parents))}
    said |= {row.about for row in catalog.CHECKPOINTS} | {family.about for family in catalog.FAMILIES}
    patterns = [re.escape(english).replace(r"\{\}", ".+?") for english in language.chinese()]
    whole = re.compile("|".join(patterns))
    assert not [one for one in said if not whole.fullmatch(one)]


pytest.importorskip("pytest_playwright")
from playwright.sync_api import expect  # noqa: E402

browsed = pytest.mark.browser
PARTS = (
    "#tabs [role=tablist]",
    "#nli-chips",
    "#nli-tab .mz-ask",
    "#nli-output .mz-result",
    "#nli-premise label",
    ".mz-footer",
)


@browsed
def test_every_tab_speaks_chinese_where_it_is_asked_to(visitor, url):
    page = visitor.page
    visitor.goto(f"{url}?lang=zh")
    expect(page.get_by_role("tab", name="推理")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    for name in [*(tab.task for tab in TABS), "compare", "tokens", "batch"]:
        panel = visitor.at(url, name)
        if name in ("nli", "qa", "classify"):
            panel.get_by_role("button", name="运行").click()
            expect(panel.locator(".mz-output .mz-time")).to_contain_text("合计")
        left = [text for text in page.evaluate(LEFT) if not NAMES.fullmatch(text)]
        assert not left, name


@browsed
def test_what_goes_wrong_is_said_in_chinese(visitor, url):
    visitor.goto(f"{url}?lang=zh&tab=nli")
    panel = visitor.at(url, "nli")
    panel.locator("#nli-premise textarea").fill("")
    panel.get_by_role("button", name="运行").click()
    expect(panel.get_by_role("alert")).to_contain_text("“前提”是空的")


@browsed
def test_words_of_a_visitor_stay_as_they_are(visitor, url):
    visitor.goto(f"{url}?lang=zh&tab=qa")
    panel = visitor.at(url, "qa")
    for field in ("#qa-question", "#qa-context"):
        panel.locator(f"{field} textarea, {field} input").first.fill("Sports")
    panel.get_by_role("button", name="运行").click()
    expect(panel.locator(".mz-output .mz-time")).to_contain_text("合计")
    expect(panel.locator(".mz-passage")).to_have_text("Sports")
    assert "体育" not in panel.locator("#qa-output").inner_text()


@browsed
def test_the_choice_is_kept_and_can_be_taken_back(visitor, url):
    page = visitor.page
    visitor.goto(f"{url}?tab=nli")
    expect(page.get_by_role("tab", name="Entail")).to_be_visible()
    before = [page.locator(part).inner_text() for part in PARTS]
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("tab", name="推理")).to_be_visible()
    visitor.reload()
    expect(page.get_by_role("tab", name="推理")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("tab", name="Entail")).to_be_visible()
    assert [page.locator(part).inner_text() for part in PARTS] == before
    assert page.evaluate("document.documentElement.lang") == "en"
