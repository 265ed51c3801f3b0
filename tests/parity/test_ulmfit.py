"""ULMFiT against plain numpy written from the papers, against numbers that fastai itself gave, and against itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.parity import ulmfit_numpy as reference
from tests.parity.conftest import ITSELF
from tests.parity.reference import load
from tests.parity.ulmfit_numpy import GOLDEN, LENGTHS, LONG, SHAPES, Shape, texts, weights
from tests.published import ulmfit as published
from zoo.contracts import Batch, Encoding, Trace
from zoo.family import Model
from zoo.models.ulmfit import LstmState

PAPER = "numpy from the papers"
FASTAI = "fastai 2.8.12, stored numbers"
STORED = GOLDEN.with_name("ulmfit_fastai.npz")
SEED = 11


def make(shape: str | Shape, kind: str, folder: Path, form: str = "zip", seed: int = SEED) -> Model:
    """Our model out of files as that generation of fastai wrote them."""
    shape = SHAPES[shape] if isinstance(shape, str) else shape
    name = kind if shape.generation == "2" else f"{kind} {shape.generation}"
    return load(published.repository(folder, name, ("a",) * shape.labels, form, shape=shape, seed=seed))


def encodings(ids: Sequence[Sequence[int]]) -> list[Encoding]:
    return [Encoding(tuple(i), (0,) * len(i), ((0, 0),) * len(i), (0,) * len(i)) for i in ids]


def scores(model: Model, head: str, ids: Sequence[Sequence[int]]) -> Tensor:
    return model.network(Batch.of(encodings(ids)), head)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", ["zip", "old", "optimizer", "json"])
def test_language_model(form: str, shape: str, tmp_path: Path, parity: Any) -> None:
    """Texts of all lengths together, out of every form of file."""
    ours, w = make(shape, "lm", tmp_path, form), weights(SHAPES[shape], SEED)
    assert set(ours.heads) == {"lm"} and ours.config.tie_weights == SHAPES[shape].tied
    ids = texts(LENGTHS if form == "zip" else LENGTHS[:3], SHAPES[shape].words, 1)
    theirs = [torch.from_numpy(reference.language_model(text, w, SHAPES[shape])) for text in ids]
    parity("ulmfit lm", scores(ours, "lm", ids), torch.cat(theirs), reference=PAPER)


@pytest.mark.parametrize("shape", SHAPES)
def test_layers(shape: str, tmp_path: Path, parity: Any) -> None:
    """The embeddings and the output of every layer, of an encoder saved without any head."""
    ours, w = make(shape, "encoder", tmp_path), weights(SHAPES[shape], SEED)
    assert set(ours.heads) == {"features"}
    ids = texts(LENGTHS, SHAPES[shape].words, 2)
    trace = Trace()
    batch = Batch.of(encodings(ids))
    last = ours.network.body(batch, trace=trace).last
    layers = [reference.encode(text, w, SHAPES[shape].layers) for text in ids]
    assert len(trace.layers) == SHAPES[shape].layers + 1
    for index, hidden in enumerate(trace.layers):
        theirs = torch.cat([torch.from_numpy(layer[index]) for layer in layers])
        parity("ulmfit hidden", hidden, theirs, reference=PAPER)
    assert torch.equal(last, trace.layers[-1])
    assert torch.equal(last, ours.network(batch, "features"))


@pytest.mark.parametrize("shape", SHAPES)
def test_classifier(shape: str, tmp_path: Path, parity: Any) -> None:
    """Texts of all lengths together, the long ones around the last tokens that are pooled."""
    ours, w = make(shape, "classifier", tmp_path), weights(SHAPES[shape], SEED)
    assert len(ours.heads["classifier"].labels) == SHAPES[shape].labels
    assert any("sizes were told from the tensors" in note for note in ours.report.notes)
    ids = texts(LENGTHS + LONG, SHAPES[shape].words, 3)
    theirs = torch.stack([torch.from_numpy(reference.classify(text, w, SHAPES[shape])) for text in ids])
    parity("ulmfit classifier", scores(ours, "classifier", ids), theirs, reference=PAPER)


@pytest.mark.parametrize("shape", SHAPES)
def test_stored_numbers(shape: str, tmp_path: Path, parity: Any) -> None:
    """The golden file: the numpy code still gives what it gave, and we give it, too."""
    with np.load(GOLDEN) as stored:
        for index in range(3):
            ids, seed, lm, classes = (stored[f"{shape}/{index}/{n}"] for n in ("ids", "seed", "lm", "classifier"))
            ids, w = ids.tolist(), weights(SHAPES[shape], int(seed))
            if len(ids) < 100:
                assert np.allclose(reference.language_model(ids, w, SHAPES[shape])[-3:], lm, atol=1e-6)
                assert np.allclose(reference.classify(ids, w, SHAPES[shape]), classes, atol=1e-6)
            for kind, theirs in (("lm", lm), ("classifier", classes[None])):
                ours = make(shape, kind, tmp_path / f"{kind}{index}", seed=int(seed))
                parity(f"ulmfit {kind} golden", scores(ours, kind, [ids])[-3:], torch.tensor(theirs), reference=PAPER)


@pytest.mark.parametrize("shape", ["lm", "classifier"])
def test_fastai_itself(shape: str, tmp_path: Path, parity: Any) -> None:
    """Tensors by the names that fastai 2 gave them, and the scores that it gave for texts of up to 1,600 tokens."""
    with np.load(STORED) as stored:
        prefix = f"{shape}/state/"
        state = {n.removeprefix(prefix): torch.tensor(stored[n]) for n in stored.files if n.startswith(prefix)}
        torch.save(state, tmp_path / "model.pth")
        (tmp_path / "itos.json").write_text(json.dumps(stored["words"].tolist()), encoding="utf-8")
        ours = load(tmp_path)
        for index in range(int(stored["texts"])):
            ids, theirs = stored[f"{index}/ids"].tolist(), torch.tensor(stored[f"{shape}/{index}/scores"])
            mine = scores(ours, shape, [ids])
            parity(f"ulmfit {shape}", mine[-len(theirs) :], theirs, reference=FASTAI)


def test_padding_that_a_text_spells_is_not_pooled(tmp_path: Path, parity: Any) -> None:
    """fastai takes every xxpad for padding: it is left out of the largest, the mean and the last."""
    ours = make("three layers", "classifier", tmp_path)
    pads = [5, 1, 6, 7, 1, 1]
    batch = Batch.of(encodings([pads]))
    rows = ours.network.body(batch).last
    head = ours.network.heads["classifier"]
    real = rows[[0, 2, 3]]
    parity("ulmfit padding", head.pooled(rows, batch)[0], torch.cat([rows[2], real.amax(0), real.mean(0)]),
           reference="by hand")  # fmt: skip
    # the last: as many rows before the end as the last chunk has padding, wherever in it; row 2 of 6
    assert head.pooled(rows[1:2], Batch.of(encodings([[1]]))).isfinite().all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["lm", "classifier"])
def test_neighbours_change_nothing(kind: str, shape: str, tmp_path: Path, parity: Any) -> None:
    """A text's scores do not depend on the other texts of the batch, nor on its place."""
    ours = make(shape, kind, tmp_path)
    ids = texts((3, 3, 40, 1, 75, 3), SHAPES[shape].words, 4)
    together = scores(ours, kind, ids)
    together_by_text = list(together.split([len(i) for i in ids])) if kind == "lm" else list(together[:, None])
    for text, mine in zip(ids, together_by_text, strict=True):
        parity("ulmfit alone or together", mine, scores(ours, kind, [text]), reference=ITSELF)
    flipped = scores(ours, kind, ids[::-1])
    flipped_by_text = flipped.split([len(i) for i in ids[::-1]]) if kind == "lm" else flipped[:, None]
    parity("ulmfit alone or together", torch.cat(together_by_text), torch.cat(list(flipped_by_text)[::-1]),
           reference=ITSELF)  # fmt: skip


CHUNKS = {
    "token by token": [(5, 1, 9, 5)] + [(1, 1, 1, 1)] * 6,
    "chunks of all sizes": [(5, 1, 9, 5), (2, 4, 1, 3), (1, 1, 2, 2), (3, 60, 3, 1)],
}


@pytest.mark.parametrize(
    ("way", "shape"), [(way, shape) for way in CHUNKS for shape in SHAPES] + [("past any limit", "three layers")]
)
def test_cached_equals_full(way: str, shape: str, tmp_path: Path, parity: Any) -> None:
    """Texts of different lengths, read in chunks over one state, equal one full pass."""
    ours = make(shape, "lm", tmp_path)
    chunks = CHUNKS.get(way, [(1, 2), (4200, 3)])
    ids = texts([sum(sizes) for sizes in zip(*chunks, strict=True)], SHAPES[shape].words, 5)
    state, parts = fresh(ours, len(ids)), [[] for _ in ids]
    for sizes in chunks:
        part = [t[past : past + size] for t, past, size in zip(ids, state.lengths, sizes, strict=True)]
        batch = Batch.continuing(part, state.lengths)
        hidden = ours.network.body(batch, state)
        state = hidden.state
        for done, new in zip(parts, batch.split(ours.network.heads["lm"](hidden.last, batch)), strict=True):
            done.append(new)
    assert state.lengths == tuple(map(len, ids))
    cached = torch.cat([torch.cat(done) for done in parts])
    parity("ulmfit cached against full", cached, scores(ours, "lm", ids), reference=ITSELF)


def fresh(model: Model, count: int) -> LstmState:
    assert model.family.new_state is not None
    state = model.family.new_state(model.config, count, 0, next(model.network.parameters()))
    assert isinstance(state, LstmState)
    return state


def test_a_state_is_a_value(tmp_path: Path, parity: Any) -> None:
    """Going on does not change the state one went on from."""
    ours = make("three layers", "lm", tmp_path)
    (text,), (other,) = texts([10], 30, 6), texts([10], 30, 7)
    early = ours.network.body(Batch.continuing([text[:4]], (0,)), fresh(ours, 1)).state
    ours.network.body(Batch.continuing([other[4:]], early.lengths), early)
    late = ours.network.body(Batch.continuing([text[4:]], early.lengths), early).last
    full = ours.network.body(Batch.of(encodings([text]))).last
    parity("ulmfit cached against full", late, full[4:], reference=ITSELF)


@pytest.mark.parametrize("form", ["zip", "old"])
@pytest.mark.parametrize("kind", ["lm", "classifier"])
@pytest.mark.parametrize("shape", ["three layers", "two, untied", "of version 1"])
def test_learner(shape: str, kind: str, form: str, tmp_path: Path, parity: Any) -> None:
    """A whole Learner in a pickle gives the numbers of its tensors."""
    first = "1 " if SHAPES[shape].generation == "1" else ""
    labels = ("zebra", "apple", "cat")
    ours = load(published.repository(tmp_path, f"learner {first}{kind}", labels, form, shape=SHAPES[shape], seed=SEED))
    w = weights(SHAPES[shape], SEED)
    ids = texts((1, 30, 1400) if form == "zip" else (1, 30), SHAPES[shape].words, 8)
    assert kind == "lm" or ours.heads[kind].labels == labels
    compute = reference.language_model if kind == "lm" else lambda *given: reference.classify(*given)[None]
    theirs = torch.cat([torch.from_numpy(compute(text, w, SHAPES[shape])) for text in ids])
    parity(f"ulmfit {kind} of a Learner", scores(ours, kind, ids), theirs, reference=PAPER)
