"""The fold "Share and code": a link that restores the page, and code that runs as it stands."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("pytest_playwright")
from playwright.sync_api import expect

from tasks import TASKS, nli
from tasks.tabs import compare
from tests.app.conftest import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]
TEXTS = {
    "nli": {"premise": "It's “raining” $HOME `now` \\ {{x}}.", "hypothesis": "It is not 'dry'."},
    "qa": {"question": "Who's there?", "context": 'Nobody is here but "Ada" $(date).'},
    "classify": {"text": "A warm, funny film; it's a joy!"},
    "summarize": {"text": "The cat sat on the mat. It slept."},
}


def shared(visitor: Visitor, url: str, task: str) -> dict[str, str]:
    """Fill a tab, make link and code, and give the blocks by their titles."""
    panel = visitor.at(url, task)
    expect(panel.locator(f"#{task}-share .mz-code")).to_have_count(0)  # of an earlier test
    for name, text in TEXTS[task].items():
        panel.locator(f"#{task}-{name} :is(textarea, input)").fill(text)
    fold = panel.locator(f"#{task}-share-fold > button")
    if "open" not in (fold.get_attribute("class") or ""):
        fold.click()
    panel.locator(f"#{task}-share-run").click()
    blocks = panel.locator(f"#{task}-share .mz-code")
    expect(blocks).to_have_count(5)
    return {one.locator("h4").inner_text(): one.locator("pre").inner_text() for one in blocks.all()}


@pytest.mark.parametrize("task", TEXTS)
def test_every_snippet_runs_and_gives_what_the_page_says(visitor: Visitor, real_url: str, task: str) -> None:
    visitor.goto(real_url)
    made = shared(visitor, real_url, task)
    wanted = json.loads(made["JSON, as the Hub's task has it"])
    run: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "timeout": 120}

    said = subprocess.run(["bash", "-c", made["curl"]], **run).stdout
    answer = json.loads(said.partition("data: ")[2])[0]["answer"]
    shown = {"summarize": "summary_text", "qa": "answer"}.get(task, "label")
    assert answer == (wanted if task == "summarize" else wanted[0])[shown]

    printed = subprocess.run([sys.executable, "-c", made["gradio_client"]], **run).stdout
    assert ast.literal_eval(printed.strip().splitlines()[-1])["answer"] == answer

    verdict = subprocess.run([sys.executable, "-c", made["Python"]], **run).stdout
    assert (nli.WORDS[answer] if task == "nli" else answer or "does not answer") in verdict


@pytest.mark.parametrize("task", TEXTS)
def test_every_snippet_of_a_comparison_runs(visitor: Visitor, real_url: str, task: str) -> None:
    visitor.goto(real_url)
    panel = visitor.at(real_url, "compare")
    panel.locator("#compare-task").get_by_text(TASKS[task].title, exact=True).click()
    expect(panel.locator("#compare-second")).to_be_visible(visible=len(TEXTS[task]) > 1)
    for place, text in zip(("first", "second"), TEXTS[task].values(), strict=False):  # one text, or two
        panel.locator(f"#compare-{place} textarea").fill(text)
    panel.locator("#compare-run").click()
    chosen = len(compare.proposed(task))
    expect(panel.locator(".mz-column .mz-time")).to_have_count(chosen)
    visitor.settle()  # columns are there before they are full
    agreed = panel.locator(".mz-agreed").inner_text()
    panel.locator("#compare-share-fold > button").click()
    panel.locator("#compare-share-run").click()
    blocks = panel.locator("#compare-share .mz-code")
    expect(blocks).to_have_count(4)
    made = {one.locator("h4").inner_text(): one.locator("pre").inner_text() for one in blocks.all()}
    run: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "timeout": 120}

    said = subprocess.run(["bash", "-c", made["curl"]], **run).stdout
    answers = [json.loads(line.removeprefix("data: "))[0] for line in said.splitlines() if line.startswith("data: ")]
    assert len(answers) == chosen
    printed = subprocess.run([sys.executable, "-c", made["gradio_client"]], **run).stdout
    assert all(one["answer"].strip() in printed for one in answers)
    python = subprocess.run([sys.executable, "-c", made["Python"]], **run).stdout
    assert python.splitlines()[-1] == agreed


@pytest.mark.parametrize("task", TEXTS)
def test_a_link_brings_back_model_texts_and_options(visitor: Visitor, real_url: str, page: Any, task: str) -> None:
    visitor.goto(real_url)
    if task == "summarize":
        panel = visitor.at(real_url, task)
        visitor.unfold(panel)
        panel.get_by_label("Seed").fill("7")
    link = shared(visitor, real_url, task)["Link to this"]
    other = Visitor(page)
    page.goto(link)
    panel = page.locator(f"#{task}-tab")
    for name, text in TEXTS[task].items():
        expect(panel.locator(f"#{task}-{name} :is(textarea, input)")).to_have_value(text)
    expect(panel.locator(f"#{task}-output")).to_contain_text("A link filled this in")
    if task == "summarize":
        visitor.unfold(panel)
        expect(panel.get_by_label("Seed")).to_have_value("7")
    panel.locator(f"#{task}-run").click()
    expect(panel.locator(f"#{task}-output .mz-time")).to_contain_text("total")
    assert not other.wrong


def test_a_link_to_a_model_that_is_not_offered_says_so(page: Any, real_url: str) -> None:
    visitor = Visitor(page)
    page.goto(f"{real_url}?tab=qa&model=<img src=x onerror=window.__x=1>&question=Who?&context=Ada.")
    expect(page.locator("#qa-output .mz-error")).to_contain_text("is not a model that this page offers")
    expect(page.locator("#qa-question :is(textarea, input)")).to_have_value("Who?")
    assert page.evaluate("window.__x") is None and not visitor.wrong
