"""Every task tab in a browser, over the fake engine: type, run, read; examples, keys, errors, stale answers, Stop."""

from __future__ import annotations

import pytest

pytest.importorskip("pytest_playwright")
from playwright.sync_api import expect

from tests.app.conftest import still
from tests.app.fake import SECRET

pytestmark = pytest.mark.browser


def test_arrival_shows_a_saved_result_and_loads_nothing(visitor, url, engine):
    before = engine.loaded()
    visitor.goto(url)
    output = visitor.page.locator("#nli-output")
    expect(output).to_contain_text("saved result")
    expect(output).to_contain_text("entail")
    expect(visitor.page.get_by_role("tab", name="Entail")).to_have_attribute("aria-selected", "true")
    assert engine.loaded() == before


def test_entail(visitor, url):
    panel = visitor.at(url, "nli")
    output = panel.locator(".block.mz-output")
    panel.get_by_label("Premise").fill("It rains.")
    panel.get_by_label("Hypothesis").fill("It does not rain.")
    panel.get_by_role("button", name="Run").click()
    expect(output).to_contain_text("Very likely: the premise contradicts the hypothesis.")
    expect(output).to_contain_text("90.0%")
    expect(output).to_contain_text("bert-mini @ fake")
    expect(output).to_contain_text("total")


def test_answer_marks_the_span_and_lists_it(visitor, url):
    panel = visitor.at(url, "qa")
    output = panel.locator(".block.mz-output")
    panel.get_by_label("Question").fill("Where?")
    panel.get_by_label("Passage").fill("The treasure lies in Rome")
    panel.get_by_role("button", name="Run").click()
    expect(output.locator("mark").first).to_have_text("Rome")
    expect(output.locator("table")).to_contain_text("characters 21 to 25")
    expect(output.locator("table")).to_contain_text("no answer in the passage")


def test_answer_may_be_none_and_enter_in_the_question_runs(visitor, url):
    panel = visitor.at(url, "qa")
    output = panel.locator(".block.mz-output")
    panel.get_by_label("Passage").fill("It says nothing")
    panel.get_by_label("Question").fill("Where?")
    panel.get_by_label("Question").press("Enter")
    expect(output).to_contain_text("the passage does not answer this question")
    expect(output.locator("mark:not(.mz-faint)")).to_have_count(0)


def test_classify_by_the_chosen_head(visitor, url):
    panel = visitor.at(url, "classify")
    output = panel.locator(".block.mz-output")
    panel.get_by_label("Text").fill("A goal in the last minute.")
    panel.get_by_label("Model").click()
    visitor.page.get_by_role("option", name="bert-mini · sentiment").click()
    expect(output.locator(".mz-stale")).to_have_count(1)
    panel.get_by_role("button", name="Run").click()
    expect(output).to_contain_text("Very likely: negative.")
    expect(output.locator(".mz-stale")).to_have_count(0)


def test_summarize_shows_the_text_and_the_prompt(visitor, url):
    panel = visitor.at(url, "summarize")
    output = panel.locator(".block.mz-output")
    panel.get_by_label("Text").fill("one two three")
    panel.get_by_role("button", name="Run").click()
    expect(output.locator(".mz-text")).to_have_text("one two three")
    output.get_by_text("The prompt as the model read it").click()
    expect(output.locator("pre")).to_contain_text("TL;DR:")


def test_control_enter_runs_from_any_field(visitor, url):
    panel = visitor.at(url, "nli")
    output = panel.locator(".block.mz-output")
    panel.get_by_label("Hypothesis").fill("Not so, not at all.")
    panel.get_by_label("Hypothesis").press("Control+Enter")
    expect(output).to_contain_text("contradicts")
    expect(panel.get_by_label("Hypothesis")).to_have_value("Not so, not at all.")


def test_a_change_marks_the_answer_as_stale(visitor, url):
    panel = visitor.at(url, "nli")
    output = panel.locator(".block.mz-output")
    panel.get_by_label("Premise").press_sequentially("!")
    expect(output.locator(".mz-stale")).to_have_count(1)
    panel.get_by_role("button", name="Run").click()
    expect(output).to_contain_text("total")
    expect(output.locator(".mz-stale")).to_have_count(0)


def test_an_example_fills_the_fields_and_runs(visitor, url):
    panel = visitor.at(url, "classify")
    output = panel.locator(".block.mz-output")
    panel.get_by_role("button", name="Sarcasm").click()
    expect(panel.get_by_label("Text")).to_have_value("Oh great, another sequel. Just what the world was waiting for.")
    expect(output).to_contain_text("What to look for")
    expect(output).to_contain_text("bert-mini · sentiment @ fake")


@pytest.mark.parametrize(
    ("tab", "field", "said"),
    [
        ("nli", "Hypothesis", "The hypothesis is empty. Write something there and run again."),
        ("qa", "Question", "The question is empty."),
        ("classify", "Text", "The text is empty."),
        ("summarize", "Text", "The text is empty."),
    ],
)
def test_an_empty_field_is_named(visitor, url, tab, field, said):
    panel = visitor.at(url, tab)
    output = panel.locator(".block.mz-output")
    panel.get_by_label(field).fill("  ")
    panel.get_by_role("button", name="Run").click()
    expect(output.get_by_role("alert")).to_contain_text(said)


def test_a_model_that_cannot_be_had_says_why(visitor, url):
    panel = visitor.at(url, "nli")
    output = panel.locator(".block.mz-output")
    panel.get_by_label("Hypothesis").fill("It rains.")
    panel.get_by_label("Model").click()
    visitor.page.get_by_role("option", name="· bert-base-mnli ·").click()
    panel.get_by_role("button", name="Run").click()
    expect(output.get_by_role("alert")).to_contain_text("there is no connection. Choose another model.")


def test_a_mistake_of_ours_shows_an_id_and_no_traceback(visitor, url, caplog):
    panel = visitor.at(url, "classify")
    output = panel.locator(".block.mz-output")
    panel.get_by_label("Text").fill("CRASH")
    panel.get_by_role("button", name="Run").click()
    alert = output.get_by_role("alert")
    expect(alert).to_contain_text("Something broke on our side.")
    ident = alert.inner_text().rstrip(".").split()[-1]
    assert len(ident) == 8
    assert SECRET not in visitor.page.content()
    assert "Traceback" not in visitor.page.content()
    assert ident in caplog.text
    assert SECRET in caplog.text
    panel.get_by_label("Text").fill("All is well again.")
    panel.get_by_role("button", name="Run").click()
    expect(output).to_contain_text("Very likely")


def test_stop_keeps_the_text_so_far_and_ends_the_work(visitor, url, engine):
    panel = visitor.at(url, "summarize")
    output = panel.locator(".block.mz-output")
    panel.get_by_label("Text").fill(" ".join(f"word{i}" for i in range(60)))
    engine.delay, before = 0.15, engine.words
    try:
        panel.get_by_role("button", name="Run").click()
        expect(output.locator(".mz-text")).to_contain_text("word3")
        panel.get_by_role("button", name="Stop").click()
        expect(output).to_contain_text("Stopped after")
        expect(output.locator(".mz-text")).to_contain_text("word3")
        assert still(lambda: engine.words) - before < 60
        expect(output).to_contain_text("Stopped after")
        expect(panel.get_by_role("button", name="Stop")).to_be_disabled()
    finally:
        engine.delay = 0.0
    panel.get_by_label("Text").fill("after the stop")
    panel.get_by_role("button", name="Run").click()
    expect(output.locator(".mz-text")).to_have_text("after the stop")


def test_a_visitor_who_leaves_ends_the_work(browser, url, engine):
    page = browser.new_page()
    page.goto(f"{url}?tab=summarize")
    page.locator("#summarize-text textarea").fill(" ".join(f"word{i}" for i in range(100)))
    engine.delay, before = 0.15, engine.words
    try:
        page.locator("#summarize-run").click()
        expect(page.locator(".mz-text")).to_contain_text("word2")
        page.close()
        assert still(lambda: engine.words) - before < 100
    finally:
        engine.delay = 0.0
