"""A head fine-tuned on a user's own two hundred rows is in the page's menu, and answers there."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator

import pytest

pytest.importorskip("pytest_playwright")
from playwright.sync_api import expect

from app import main
from tests import minis
from tests.app.serving import serve
from zoo import Engine, catalog, own
from zoo.contracts import HeadSpec
from zoo.training import own_data
from zoo.training.recipes import Run

pytestmark = pytest.mark.browser
WORDS = {"red": ("rose", "blood", "ruby"), "blue": ("sky", "sea", "ink")}


@pytest.fixture(scope="module")
def own_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page with a checkpoint that was fine-tuned a moment ago."""
    folder, chance = tmp_path_factory.mktemp("own"), random.Random(0)
    start = minis.bert_checkpoint(folder / "start", {"pooled": HeadSpec("pooled")})
    with (folder / "colours.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("text", "label"))
        rows.writerows((chance.choice(WORDS[label]), label) for label in chance.choices(sorted(WORDS), k=200))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(own_data.METHODS, "bert", own_data.Method(rate=5e-3, head=1.0))
        scores = own_data.classify(Run(folder / "colours.csv", folder / "colours", source=str(start)))
        assert scores == {"accuracy": 100, "macro F1": 100}
        patch.setattr(catalog, "CHECKPOINTS", catalog.CHECKPOINTS)
        own.add(folder / "colours" / "checkpoint")
        with serve(Engine()) as address:
            yield address


def test_the_api_answers_with_it(own_url: str) -> None:
    gradio_client = pytest.importorskip("gradio_client")
    client = gradio_client.Client(own_url, verbose=False, analytics_enabled=False)
    for label, words in WORDS.items():
        made = client.predict(text=words[0], model="colours", api_name="/classify")
        assert (made["model"], made["answer"]) == ("colours", label)
    with pytest.raises(Exception, match="MODEL_UNKNOWN"):
        client.predict(premise="a", hypothesis="b", model="colours", api_name="/nli")


def test_the_menu_has_it_and_it_answers(visitor, own_url: str) -> None:
    panel = visitor.at(own_url, "classify")
    menu = panel.get_by_label("Model")
    menu.click()
    visitor.page.get_by_role("option", name="BERT · colours · English · ready").click()
    panel.get_by_label("Text").fill("blood")
    panel.get_by_role("button", name="Run").click()
    expect(panel.locator(".block.mz-output")).to_contain_text("red.")


def test_its_card_says_whose_it_is_and_no_path(visitor, own_url: str) -> None:
    visitor.goto(f"{own_url}?tab=models")
    panel = visitor.page.locator("#models-tab")
    panel.get_by_role("button", name="colours", exact=True).click()
    card = panel.locator(".mz-card")
    expect(card).to_contain_text("fine-tuned on colours.csv")
    expect(card).to_contain_text("a folder of your own")
    expect(card).not_to_contain_text("checkpoint/")


def test_a_folder_that_is_no_checkpoint_ends_the_program_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_MODELS", str(tmp_path))
    with pytest.raises(SystemExit) as left:
        main([])
    assert str(left.value) == f"{tmp_path} lacks config.json."
