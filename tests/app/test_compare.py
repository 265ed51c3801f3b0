"""The tabs Compare and Tokens in a browser."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("pytest_playwright")
from playwright.sync_api import expect

from tasks import votes
from tasks.tabs import compare
from tests.app.conftest import Visitor, still
from tests.app.fake import FakeEngine
from tests.app.serving import serve
from tests.app.test_hostile import HOSTILE, unharmed

pytestmark = pytest.mark.browser


def test_a_broken_column_stays_alone(
    visitor: Visitor, url: str, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the models that are proposed the second one cannot be had here."""
    monkeypatch.setattr(engine, "gone", {compare.proposed("nli")[1]})
    panel = visitor.at(url, "compare")
    panel.locator("#compare-run").click()
    good, broken = panel.locator(".mz-column").first, panel.locator(".mz-column").nth(1)
    expect(good.locator(".mz-verdict")).to_contain_text("contradicts")
    expect(good.locator(".mz-source")).to_contain_text("23 M parameters")
    expect(broken.locator(".mz-error")).to_contain_text("is not on this machine")
    expect(panel.locator(".mz-look")).to_be_visible()


def test_presets_choose_task_fields_and_models(visitor: Visitor, url: str) -> None:
    panel = visitor.at(url, "compare")
    panel.locator(".mz-chip", has_text="TL;DR").click()
    expect(panel.locator(".mz-column[data-model=gpt-mini] .mz-text")).to_contain_text("Mount Vesuvius is a volcano")
    expect(panel.locator("#compare-second")).to_be_hidden()
    panel.locator(".mz-chip", has_text="ELMo to BERT").click()
    expect(panel.locator("#compare-second textarea")).to_be_visible()
    expect(panel.locator(".mz-column[data-model=bert-mini] mark").first).to_have_text("quarantine.")
    panel.locator(".mz-chip", has_text="Sarcasm").click()
    expect(panel.locator(".mz-column-name")).to_have_text([re.compile(r"· sentiment$")] * 4)


def test_another_task_brings_its_fields_and_models(visitor: Visitor, url: str) -> None:
    panel = visitor.at(url, "compare")
    panel.locator("#compare-task").get_by_text("Classify").click()
    expect(panel.locator("#compare-second")).to_be_hidden()
    expect(panel.locator("#compare-models")).to_contain_text("bert-mini")
    panel.locator("#compare-first textarea").fill("Not bad.")
    panel.locator("#compare-run").click()
    expect(panel.locator(".mz-column[data-model=bert-mini] .mz-verdict")).to_be_visible()


def test_a_link_brings_the_comparison_back(visitor: Visitor, url: str) -> None:
    panel = visitor.at(url, "compare")
    panel.locator("#compare-task").get_by_text("Classify").click()
    expect(panel.locator("#compare-second")).to_be_hidden()
    chosen = panel.locator("#compare-models .token")
    expect(chosen.first).to_be_visible()
    names = chosen.all_inner_texts()
    panel.locator("#compare-first textarea").fill("Not <b>bad</b> at all.")
    panel.locator("#compare-share-fold > button").click()
    panel.locator("#compare-share-run").click()
    link = panel.locator("#compare-share pre").first.inner_text()
    visitor.goto("about:blank")
    visitor.goto(link)
    expect(visitor.page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    expect(panel.locator("#compare-first textarea")).to_have_value("Not <b>bad</b> at all.")
    expect(panel.locator("#compare-second")).to_be_hidden()
    expect(chosen).to_have_text(names)
    panel.locator("#compare-run").click()
    expect(panel.locator(".mz-column .mz-verdict")).to_have_count(len(names))


def test_stop_keeps_what_is_written(page: Any) -> None:
    engine, names = FakeEngine(delay=0.2), compare.proposed("summarize")
    with serve(engine) as address:
        panel = Visitor(page).at(address, "compare")
        panel.locator(".mz-chip", has_text="TL;DR").click()
        column = panel.locator(".mz-column[data-model=gpt-mini]")
        expect(column.locator(".mz-text")).to_contain_text("Mount Vesuvius")
        panel.locator("#compare-stop").click()
        expect(column.locator(".mz-note")).to_have_text("Stopped.")
        expect(panel.locator("#compare-stop")).to_be_disabled()
        assert still(lambda: engine.words) < 30 * len(names) and engine.closed == len(names)


def test_blind_names_are_told_after_the_vote_and_only_once(
    page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models of the fake engine's kind, known by their names: all answer, none of the names is on the page."""
    names = compare.proposed("nli")
    monkeypatch.setenv(votes.FOLDER, str(tmp_path))
    monkeypatch.setattr(FakeEngine, "model", lambda self, name, timings=None: fake_model(name))
    with serve(FakeEngine()) as address:
        panel = Visitor(page).at(address, "compare")
        panel.get_by_label("Blind: hide the names").check()
        panel.locator("#compare-run").click()
        ballot = panel.locator(".mz-ballot")
        expect(ballot.locator("button")).to_have_count(len(names) + 2)
        shown = panel.locator("#compare-output").inner_text()
        assert not any(name in shown for name in names) and "Model A" in shown
        assert "MB" not in shown and "total" not in shown
        ballot.get_by_role("button", name="Model B is best").click()
        told = panel.locator("#compare-told")
        expect(told).to_contain_text("Model A was")
        expect(ballot.locator("button").first).to_be_disabled()
        (vote,) = votes.Votes(tmp_path).all()
        assert vote.winner == vote.models[1] and set(vote.models) == set(names)
        expect(told.locator("tbody tr").first).to_contain_text(vote.winner)
        panel.locator("#compare-run").click()
        expect(told.locator("tbody")).to_have_count(0)


def fake_model(name: str) -> Any:
    return SimpleNamespace(name=name, revision="fake", head=lambda kind, head=None: head or kind, heads={}, mixes=[])


def test_hostile_text_in_every_column(visitor: Visitor, url: str) -> None:
    panel = visitor.at(url, "compare")
    panel.locator("#compare-task").get_by_text("Summarize").click()
    expect(panel.locator("#compare-second")).to_be_hidden()
    for text in HOSTILE:
        panel.locator("#compare-first textarea").fill(text)
        panel.locator("#compare-run").click()
        first = text.split()[0]
        expect(panel.locator(".mz-column[data-model=gpt-mini] .mz-text")).to_contain_text(first)
        unharmed(visitor)


def test_tokens_of_every_ready_model(visitor: Visitor, real_url: str) -> None:
    panel = visitor.at(real_url, "tokens")
    panel.locator("#tokens-text textarea").fill("Zebras ${x} 斑 <b>")
    panel.locator("#tokens-run").click()
    cards = panel.locator(".mz-cut")
    expect(cards.first.locator(".mz-pieces")).to_contain_text("斑?")
    expect(panel.locator(".mz-verdict")).to_contain_text("pieces")
    expect(panel.locator(".mz-cut", has_text="gpt-mini").locator(".mz-pieces")).to_contain_text("斑3/3")
    panel.locator("#tokens-text textarea").fill(" ")
    panel.locator("#tokens-run").click()
    expect(panel.locator(".mz-error")).to_contain_text("The text is empty")
