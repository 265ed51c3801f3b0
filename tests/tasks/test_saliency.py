"""Trust in explanations, measured on a model of which it is known which word decides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tasks.saliency import measure
from tests import nets
from zoo import Engine
from zoo.contracts import Batch, Hidden
from zoo.engine.words import METHODS
from zoo.errors import BadData, BadParameter
from zoo.family import Network

FILLER = "the cat sat on a mat is"


class Bag(nn.Module):
    """A vector of two numbers for each word: what it says for World, and for Sports."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.word = nn.Embedding(words, 2)

    @property
    def input_embedding(self) -> nn.Module:
        return self.word

    def forward(self, batch: Batch, state: None = None, trace: None = None) -> Hidden:
        return Hidden(self.word(batch.ids))


class Sum(nn.Module):
    """Scores of a text: what its words say, added up."""

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        return torch.stack([part.sum(0) for part in batch.split(rows)])


@pytest.fixture
def engine() -> Engine:
    """With "not" a text is Sports, else World, whatever other words it has."""
    tokenizer = nets.words_alone("A:0", "A:0 B:0")
    bag = Bag(tokenizer.vocabulary)
    with torch.no_grad():
        bag.word.weight.copy_(torch.tensor([1.0, 0.0]))
        bag.word.weight[tokenizer.pieces("not").ids[0]] = torch.tensor([0.0, 20.0])
    model = replace(nets.gpt2_model(), network=Network(bag, {"topic": Sum()}), tokenizer=tokenizer)
    return Engine(open_model=lambda _, __: model)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    words = FILLER.split()
    rows = [{"text": " ".join([*words[i % 7 :], "not", *words[: i % 7]])} for i in range(12)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("method", METHODS)
def test_the_word_that_decides_is_found(engine: Engine, data: Path, method: str) -> None:
    made = measure(engine, "classify", "tiny", data, "topic", method=method)
    assert made["rows"] == 12
    assert made["changed_without_top_word"] == 1 and made["changed_without_random_word"] == 0
    assert made["p_value"] == pytest.approx(2**-11, rel=0.05)
    if method == METHODS[0]:
        assert made["below_5_percent"] == 1 and made["error_median"] <= made["error_95th"] < 0.05
    else:
        assert made["error_median"] is None


def test_what_cannot_be_measured_is_refused(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match="Answers of qa are no labels; choose from nli, classify"):
        measure(engine, "qa", "tiny", tmp_path / "x.jsonl")
    (tmp_path / "one.jsonl").write_text('{"text": "cat"}\n', encoding="utf-8")
    with pytest.raises(BadData, match="Row 1 has less than two words"):
        measure(engine, "classify", "tiny", tmp_path / "one.jsonl", "topic")
