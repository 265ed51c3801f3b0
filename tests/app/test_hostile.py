"""Text that wants to be code, and text that is too long: shown as written, never run, never a broken page."""

from __future__ import annotations

import pytest

pytest.importorskip("pytest_playwright")
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

HOSTILE = (
    "${window.__x=1}",
    "{{constructor}}{{#with this}}",
    "<img src=x onerror=window.__x=1>",
    "<script>window.__x=1</script>",
    "`${window.__x=1}`",
    "\\${window.__x=1}\\\\`",
    "\"'><svg onload=window.__x=1>",
)
TEXT = " ".join(HOSTILE)
FIELDS = {
    "nli": ("Premise", "Hypothesis"),
    "qa": ("Question", "Passage"),
    "classify": ("Text",),
    "summarize": ("Text", "Prompt"),
}


def unharmed(visitor):
    assert visitor.page.evaluate("window.__x") is None


@pytest.mark.parametrize("tab", FIELDS)
def test_code_in_every_field_is_only_text(visitor, url, tab):
    panel = visitor.at(url, tab)
    if tab == "summarize":
        visitor.unfold(panel)
    for field in FIELDS[tab]:
        panel.get_by_label(field, exact=field == "Text").fill(f"HOSTILE {TEXT}")
    panel.get_by_role("button", name="Run").click()
    output = panel.locator(".block.mz-output")
    expect(output).to_contain_text("total")
    if tab == "summarize":  # which is written word by word, with the time so far
        expect(output).to_contain_text(TEXT)
    shown = output.inner_text()
    if tab == "qa":
        assert TEXT in output.locator("blockquote").inner_text()
    elif tab == "summarize":
        assert TEXT in shown
        output.locator("summary").first.click()
        assert output.locator("pre").inner_text().endswith(f"HOSTILE {TEXT}")
    elif tab == "classify":
        assert "<img src=x onerror=window.__x=1>${window.__x=1}" in shown
        assert "{{constructor}}`\\" in shown
    expect(output.locator("img, script, svg")).to_have_count(0)
    unharmed(visitor)


def test_code_in_the_address_is_only_text(visitor, url):
    visitor.goto(f"{url}?tab=${{window.__x=1}}<img src=x onerror=window.__x=1>&__theme=light")
    expect(visitor.page.locator("#nli-output")).to_contain_text("saved result")
    unharmed(visitor)


def test_100_000_characters_are_taken_and_what_was_not_read_is_shown(visitor, url):
    panel = visitor.at(url, "classify")
    panel.get_by_label("Text").fill("word " * 19_999 + "end $")
    panel.get_by_role("button", name="Run").click()
    output = panel.locator(".block.mz-output")
    expect(output.locator(".mz-note")).to_contain_text("Only the first 512 of 100,000 tokens of the text were read.")
    output.get_by_text("What was not read").click()
    expect(output.locator(".mz-tail")).to_contain_text("more characters")
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 1280


@pytest.mark.parametrize("tab", FIELDS)
def test_too_long_a_text_is_refused_in_words(visitor, url, tab):
    panel = visitor.at(url, tab)
    panel.get_by_label(FIELDS[tab][-1] if tab != "summarize" else "Text").fill("x" * 100_001)
    panel.get_by_role("button", name="Run").click()
    alert = panel.locator(".block.mz-output").get_by_role("alert")
    expect(alert).to_contain_text("100,001 characters; at most 100,000 are taken. Shorten it.")


def test_one_endless_word_does_not_widen_the_page(visitor, url):
    panel = visitor.at(url, "qa")
    panel.get_by_label("Question").fill("Who?")
    panel.get_by_label("Passage").fill("x" * 5_000)
    panel.get_by_role("button", name="Run").click()
    expect(panel.locator(".block.mz-output")).to_contain_text("total")
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 1280
