"""Decomposable attention and BiDAF on ELMo: against AllenNLP 1.0 itself (its numbers kept in tests/golden), and numpy.

tests/golden/elmo_allennlp.npz holds what the code of AllenNLP 1.0.0 and allennlp-models 1.0.0 computed, once, from the
seeded repositories of tests/published/elmo.py (`hdf5` for ELMo, `nli`, `nli` with norm=True, `qa`), for the texts that
it also holds, split at spaces: each pair alone, states reset before it. `nli_I`, `norm_I` are logits of labels, `qa_I`
scores of start and end. AllenNLP's models were put together from its classes with the sizes of the config files, and
took weights.th strictly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.parity import elmo_numpy
from tests.parity.conftest import ITSELF
from tests.parity.reference import load
from tests.parity.test_elmo import NUMPY, SENTENCES, SHAPES, reference, rows_of, same
from tests.published import elmo as published
from zoo.contracts import Batch, Encoding
from zoo.engine import Engine
from zoo.family import Model
from zoo.weights.convert import convert
from zoo.weights.layout import Opened

GOLDEN = Path(__file__).parents[1] / "golden" / "elmo_allennlp.npz"
ALLENNLP = "AllenNLP 1.0.0 (golden)"
PAIRS = [
    (SENTENCES[0], SENTENCES[2]),
    (SENTENCES[3], SENTENCES[6]),
    (SENTENCES[4], SENTENCES[3]),
    (SENTENCES[5], SENTENCES[0]),
    (SENTENCES[2], SENTENCES[4]),
]
ALLENNLPS = [name for name in SHAPES if SHAPES[name].get("use_skip_connections", True)]  # it knows no other


def encode(model: Model, first: str, second: str) -> Encoding:
    return model.tokenizer.question(rows_of(model, first), rows_of(model, second))


def golden(kind: str, numbers: str = "") -> list[tuple[str, str, Tensor]]:
    """(first, second, what AllenNLP computed)."""
    with np.load(GOLDEN) as file:
        texts = sorted(name for name in file if name.startswith(f"text_{kind}_"))
        found = [(*map(str, file[name]), file[f"{numbers or kind}_{name[-1]}"]) for name in texts]
    return [(first, second, torch.from_numpy(theirs)) for first, second, theirs in found]


@pytest.mark.parametrize("norm", [False, True])
def test_nli_of_allennlp(norm: bool, tmp_path: Path, parity: Any) -> None:
    """The logits of the original code, pair by pair and all at once."""
    model = load(published.repository(tmp_path, "nli", norm=norm))
    cases = golden("nli", "norm" if norm else "nli")
    texts = [encode(model, first, second) for first, second, _ in cases]
    for text, (_, _, theirs) in zip(texts, cases, strict=True):
        parity("elmo classifier", model.network(Batch.of([text]), "nli")[0], theirs, reference=ALLENNLP)
    together = model.network(Batch.of(texts), "nli")
    parity("elmo classifier", together, torch.stack([theirs for *_, theirs in cases]), reference=ALLENNLP)


def test_qa_of_allennlp(tmp_path: Path, parity: Any) -> None:
    """The scores of the original code, long and short words, known and unknown ones."""
    model = load(published.repository(tmp_path, "qa"))
    cases = golden("qa")
    texts = [encode(model, first, second) for first, second, _ in cases]
    batch = Batch.of(texts)
    together = batch.split(model.network(batch, "qa"))
    for text, rows, (_, _, theirs) in zip(texts, together, cases, strict=True):
        inside = torch.tensor(text.sources) == 1
        parity("elmo span", rows[inside], theirs, reference=ALLENNLP)
        parity("elmo span", model.network(Batch.of([text]), "qa")[inside], theirs, reference=ALLENNLP)
        assert rows[~inside].isneginf().all() and rows[inside].isfinite().all()


def parts(shape: str, first: list[str], second: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """ELMo's layers of both sentences, without the rows of their marks."""
    options = published.options(**SHAPES[shape])
    layers = reference(published.bilm_arrays(options), options, " ".join(first), " ".join(second)).numpy()
    return layers[: len(first) + 2], layers[len(first) + 2 :]


def state_of(folder: Path) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in torch.load(folder / "weights.th", weights_only=True).items()}


def repository(folder: Path, kind: str, shape: str, **values: Any) -> Path:
    """With options.json beside it: the clips and the activation are not those of the published models."""
    published.repository(folder, kind, **SHAPES[shape], **values)
    (folder / "options.json").write_text(json.dumps(published.options(**SHAPES[shape])), encoding="utf-8")
    return folder


@pytest.mark.parametrize("shape", ALLENNLPS)
@pytest.mark.parametrize("norm", [False, True])
def test_nli(norm: bool, shape: str, tmp_path: Path, parity: Any) -> None:
    """Logits of pairs of unequal lengths in one batch."""
    labels = ("neutral", "entailment", "contradiction", "unsure")
    model = load(repository(tmp_path, "nli", shape, norm=norm, labels=labels))
    assert model.heads["nli"].labels == labels
    state, theirs = state_of(tmp_path), []
    for pair in PAIRS:
        first, second = ([*text.split(), "@@NULL@@"] for text in pair)
        inside = [elmo_numpy.mixed(state, one, norm)[1:-1] for one in parts(shape, first, second)]
        theirs.append(elmo_numpy.decomposable_attention(state, *inside))
    texts = [encode(model, *pair) for pair in PAIRS]
    parity("elmo classifier", model.network(Batch.of(texts), "nli"), torch.tensor(np.array(theirs)), reference=NUMPY)
    for order in (texts[::-1], sorted(texts, key=len)):
        together = model.network(Batch.of(order), "nli")
        for text, row in zip(order, together, strict=True):
            alone = model.network(Batch.of([text]), "nli")[0]
            parity("elmo classifier alone or together", row, alone, reference=ITSELF)


@pytest.mark.parametrize("shape", ALLENNLPS)
def test_qa(shape: str, tmp_path: Path, parity: Any) -> None:
    """Scores of start and end over passages of unequal lengths in one batch."""
    model = load(repository(tmp_path, "qa", shape))
    state = state_of(tmp_path)
    vocabulary = ("@@PADDING@@", *(tmp_path / "vocabulary" / "tokens.txt").read_text().split())
    texts = [encode(model, *pair) for pair in PAIRS]
    batch = Batch.of(texts)
    ours = list(batch.split(model.network(batch, "qa")))
    for pair, text, rows in zip(PAIRS, texts, ours, strict=True):
        words = [one.split() for one in pair]
        inside = [elmo_numpy.mixed(state, one)[1:-1] for one in parts(shape, *words)]
        theirs = elmo_numpy.bidaf(state, vocabulary, (words[0], inside[0]), (words[1], inside[1]))
        passage = torch.tensor(text.sources) == 1
        parity("elmo span", rows[passage], torch.from_numpy(theirs), reference=NUMPY)
        alone = model.network(Batch.of([text]), "qa")
        parity("elmo span alone or together", rows[passage], alone[passage], reference=ITSELF)


@pytest.mark.parametrize("kind", ["nli", "qa"])
def test_converted(kind: str, tmp_path: Path) -> None:
    """Written in our own layout and loaded again: the same bits, labels, words and mix."""
    model = load(published.repository(tmp_path / "from", kind))
    convert(model, Opened(tmp_path / "from"), tmp_path / "to", [model.family], {})
    again = load(tmp_path / "to")
    assert again.heads == model.heads and again.config == model.config and again.mixes == model.mixes
    same(model, again)
    assert [encode(model, *pair) for pair in PAIRS] == [encode(again, *pair) for pair in PAIRS]


@pytest.mark.parametrize("kind", ["nli", "qa"])
def test_texts_without_words(kind: str, tmp_path: Path) -> None:
    """Nothing but marks, on one side or both: no NaN, and no score outside of the passage."""
    model = load(published.repository(tmp_path, kind))
    texts = [encode(model, *pair) for pair in (("", ""), ("x", ""), ("", "a b"), ("x y", "a"))]
    scores = model.network(Batch.of(texts), kind)
    assert not scores.isnan().any()
    if kind == "qa":
        inside = torch.tensor([source == 1 for text in texts for source in text.sources])
        assert scores[inside].isfinite().all() and scores[~inside].isneginf().all()


def test_through_the_engine(tmp_path: Path) -> None:
    """From texts to labels by name and to spans of the passage, in windows."""
    models = {kind: load(published.repository(tmp_path / kind, kind)) for kind in ("nli", "qa")}
    engine = Engine(open_model=lambda name, progress: models[name])
    (found,) = engine.classify("nli", None, [("The cat sat.", "It is a cat.")])
    assert found.labels == published.SNLI and sum(found.probabilities) == pytest.approx(1)
    passage = "The cat sat on the mat. " * 6
    (spanned,) = engine.spans("qa", None, [("Who sat?", passage)], window=24, stride=5)
    assert len(spanned.windows) > 2
    for window in spanned.windows:
        assert window.none == -torch.inf and window.start.isfinite().all() and window.end.isfinite().all()
        assert {passage[begin:end] for begin, end in window.offsets} <= {"The", "cat", "sat", "on", "the", "mat", "."}
