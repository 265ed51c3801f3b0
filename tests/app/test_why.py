"""The fold below an answer, over the embedded models: explained, changed word by word, looked into."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.conftest import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def fold(visitor: Visitor, real_url: str) -> Any:
    """Opens a tab with its fold, and presses Explain with a method."""

    def opened(tab: str, method: str = "") -> Any:
        panel = visitor.at(real_url, tab)
        button = panel.locator(f"#{tab}-why-fold > button")
        if "open" not in (button.get_attribute("class") or ""):
            button.click()
        if method:
            panel.locator(f"#{tab}-why-kind").get_by_text(method, exact=True).click()
        panel.locator(f"#{tab}-why-run").click()
        return panel

    return opened


def test_words_speak_for_the_answer_and_can_be_changed(fold: Any) -> None:
    panel = fold("nli")
    card = panel.locator("#nli-why .mz-why")
    card.get_by_text("What speaks for the answer entailment?").wait_for()
    assert "The scores add up to the difference within" in card.inner_text()
    assert card.locator(".mz-for").count() and card.locator("[data-field=hypothesis]").count() == 7
    card.locator("[data-field=hypothesis]", has_text="men").click()
    changed = panel.locator("#nli-whatif .mz-whatif")
    changed.get_by_text("Some are playing a sport.").wait_for()
    changed.locator("input").fill("women")
    changed.locator("input").press("Enter")
    changed.get_by_text("Some women are playing a sport.").wait_for()
    changed.get_by_role("button", name="Hide").click()
    changed.get_by_text("Some [MASK] are playing a sport.").wait_for()


def test_a_text_that_changed_is_explained_again_first(visitor: Visitor, fold: Any) -> None:
    panel = fold("classify")
    card = panel.locator("#classify-why .mz-why")
    card.wait_for()
    panel.locator("#classify-text textarea").fill("Another text altogether.")
    card.locator(".mz-word[data-number]").nth(2).click()
    panel.locator("#classify-whatif .mz-error", has_text="The text has changed").wait_for()


def test_attention_of_every_head(fold: Any) -> None:
    panel = fold("nli", "Attention")
    card = panel.locator("#nli-why .mz-why")
    card.get_by_text("the mean of its heads").wait_for()
    assert card.locator(".mz-heads button").count() == 72
    assert card.locator(".mz-map thead th", has_text="[CLS]").count() == 1
    card.get_by_role("button", name="layer 2, head 5").click()
    card.get_by_text("Attention of layer 2, head 5").wait_for()
    card.get_by_role("button", name="Hide special tokens").click()
    card.get_by_role("button", name="Show special tokens").wait_for()
    assert card.locator(".mz-map thead th", has_text="[CLS]").count() == 0


def test_what_each_layer_would_answer(fold: Any) -> None:
    panel = fold("nli", "Layers")
    card = panel.locator("#nli-why .mz-why")
    card.get_by_text("What the head “nli” says of each layer").wait_for()
    assert card.locator("thead th").all_inner_texts() == ["entailment", "neutral", "contradiction"]
    assert card.locator("tbody tr").count() == 7  # the embeddings and six layers


def test_least_words(fold: Any) -> None:
    panel = fold("nli", "Least words")
    panel.locator("#nli-why", has_text="The least that still gets").wait_for()


def test_tokens_of_a_summary_and_their_rivals(visitor: Visitor, fold: Any, real_url: str) -> None:
    panel = visitor.at(real_url, "summarize")
    panel.locator("#summarize-text textarea").fill("The cat sat on the mat. It slept there all day long.")
    fold("summarize", "Hide words")
    card = panel.locator("#summarize-why .mz-why")
    card.get_by_text("What speaks for the token").wait_for()
    card.locator("[data-token='1']").click()
    card.locator("[data-token='1'][aria-current]").wait_for()
    card.get_by_text("What else was likely").click()
    assert card.locator("details[open] tbody tr").count() == card.locator("[data-token]").count()


def test_an_answer_in_a_passage(fold: Any) -> None:
    panel = fold("qa", "Hide words")
    card = panel.locator("#qa-why .mz-why")
    card.get_by_text("What speaks for the answer").wait_for()
    assert card.locator("[data-field=question]").count() and card.locator("[data-field=context]").count()


def test_hostile_words_are_shown_and_not_run(visitor: Visitor, fold: Any, real_url: str) -> None:
    hostile = "<img src=x onerror=window.__x=1> ${window.__x=1} {{constructor}} `a` \\ \"'"
    panel = visitor.at(real_url, "classify")
    panel.locator("#classify-text textarea").fill(hostile)
    fold("classify", "Hide words")
    card = panel.locator("#classify-why .mz-why")
    card.locator(".mz-word", has_text="onerror").wait_for()
    shown = "".join(card.locator(".mz-words").first.inner_text().split())
    assert shown == "".join(hostile.split())
    card.locator(".mz-word", has_text="onerror").click()
    panel.locator("#classify-whatif .mz-changed").wait_for()
    assert visitor.page.evaluate("window.__x") is None
