"""ELMo against AllenNLP's own fixtures, and against numpy where they are not: layers, mix, both directions of the LM.

The numpy reference reads the same files, with its own idea of what is in them (tests/parity/elmo_numpy.py).
"""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.parity import elmo_numpy
from tests.parity.conftest import ITSELF
from tests.parity.reference import SHARED, load
from tests.published import elmo as published
from zoo import generation
from zoo.contracts import Batch, Encoding, Pieces, Trace
from zoo.family import Model, empty_network
from zoo.models.elmo import FAMILY, BothWays, ElmoState, log_probabilities
from zoo.sampling import Sampling
from zoo.weights import keymap
from zoo.weights.convert import convert
from zoo.weights.formats import read_tensors
from zoo.weights.layout import Opened
from zoo.weights.load import slots

NUMPY = "numpy from the paper and bilm-tf's files"
FIXTURES = "AllenNLP's fixtures (made with bilm-tf)"
FOLDER = SHARED / "fixtures" / "elmo_allennlp"
fixtures = pytest.mark.skipif(not FOLDER.is_dir(), reason="the fixtures of AllenNLP are not beside this clone")

SHAPES: dict[str, dict[str, Any]] = {
    "two layers, two highways": {},
    "one layer, no highway": {"n_layers": 1, "n_highway": 0, "dim": 9, "projection_dim": 5, "filters": [[2, 7]]},
    "three layers, tight clips": {
        "n_layers": 3, "n_highway": 1, "dim": 13, "projection_dim": 7, "cell_clip": 0.25, "proj_clip": 0.2,
        "filters": [[1, 3], [4, 9]],
    },
    "tanh, no skip": {
        "n_layers": 3, "dim": 11, "projection_dim": 3, "activation": "tanh", "use_skip_connections": False,
        "filters": [[1, 1], [5, 11], [7, 3]],
    },
    "no clips": {"cell_clip": None, "proj_clip": None, "dim": 17, "projection_dim": 6, "n_highway": 3},
    "short words": {"max_characters_per_token": 9, "dim": 10, "projection_dim": 4, "filters": [[3, 5], [9, 4]]},
    "one cell clipped": {"cell_clip": 0.3, "proj_clip": None, "dim": 31, "projection_dim": 2, "n_highway": 1},
}  # fmt: skip
SENTENCES = (
    "The cat sat on the mat .",
    "",
    "Who ?",
    "a",
    "internationalization Übermäßigkeitsanspruchsdenkensverhinderungsgesetzgebung 猫猫 \N{GRINNING FACE}",
    "Who is it ?",
    "b c d e f g h i j k l m n o p q r s t u v w x y z",
)


def rows_of(model: Model, text: str) -> Pieces:
    """Words split at spaces only, as the reference gets them."""
    row = model.tokenizer._row  # type: ignore[attr-defined]
    return Pieces(tuple(row(word) for word in text.split()), tuple((0, 0) for _ in text.split()))


def encode(model: Model, *texts: str) -> Encoding:
    return model.tokenizer.assemble(*(rows_of(model, text) for text in texts))


def reference(weights: published.Arrays, options: dict[str, Any], *texts: str) -> Tensor:
    places = options["char_cnn"]["max_characters_per_token"]
    stream = [[elmo_numpy.characters(w, places) for w in ["<S>", *text.split(), "</S>"]] for text in texts]
    return torch.from_numpy(elmo_numpy.bilm(weights, options, stream))


def made(folder: Path, shape: str, kind: str = "hdf5") -> tuple[published.Arrays, dict[str, Any], Model]:
    options = published.options(**SHAPES[shape])
    published.repository(folder, kind, **SHAPES[shape])
    return published.bilm_arrays(options), options, load(folder)


@pytest.mark.parametrize("shape", SHAPES)
def test_layers(shape: str, tmp_path: Path, parity: Any) -> None:
    """Every layer of texts of unequal lengths and of pairs, read together."""
    weights, options, model = made(tmp_path, shape)
    texts: list[tuple[str, ...]] = [(text,) for text in SENTENCES]
    texts += [(SENTENCES[0], SENTENCES[4]), (SENTENCES[3], SENTENCES[6]), ("", "x"), (SENTENCES[6], "")]
    trace = Trace()
    last = model.network.body(Batch.of([encode(model, *text) for text in texts]), trace=trace).last
    theirs = torch.cat([reference(weights, options, *text) for text in texts])
    assert len(trace.layers) == options["lstm"]["n_layers"] + 1
    assert torch.equal(last, torch.stack(trace.layers, dim=1))
    for layer, ours in enumerate(trace.layers):
        parity("elmo layers", ours, theirs[:, layer], reference=NUMPY)


def test_clips_bite(tmp_path: Path) -> None:
    """The shapes above would pass without clipping if nothing ever reached the clips."""
    for shape in ("three layers, tight clips", "one cell clipped"):
        weights, options, _ = made(tmp_path / shape, shape)
        for name in ("cell_clip", "proj_clip"):
            free = {**options, "lstm": {**options["lstm"], name: None}}
            if options["lstm"][name] is not None:
                clipped, loose = (reference(weights, o, SENTENCES[0]) for o in (options, free))
                assert (clipped - loose).abs().max() > 1e-2, (shape, name)


@pytest.mark.parametrize("shape", SHAPES)
def test_neighbours_change_nothing(shape: str, tmp_path: Path, parity: Any) -> None:
    """A text reads the same alone, with others before and behind it, and in another order."""
    _, _, model = made(tmp_path, shape)
    texts = [encode(model, text) for text in SENTENCES] + [encode(model, SENTENCES[0], SENTENCES[5])]
    for order in (texts, texts[::-1], sorted(texts, key=len)):
        batch = Batch.of(order)
        for text, ours in zip(order, batch.split(model.network.body(batch).last), strict=True):
            parity("elmo alone or together", ours, model.network.body(Batch.of([text])).last, reference=ITSELF)


def test_longest(tmp_path: Path, parity: Any) -> None:
    """As many words as the engine may ever give it."""
    shape = "one layer, no highway"
    weights, options, model = made(tmp_path, shape)
    chance = random.Random(1)
    text = " ".join(chance.choice(["the", "cat", "sat", "on", "a", "mat", "x", "Üb"]) for _ in range(model.longest - 2))
    encoding = encode(model, text)
    assert len(encoding) == model.longest
    ours = model.network.body(Batch.of([encoding])).last
    parity("elmo layers", ours, reference(weights, options, text), reference=NUMPY)


@pytest.mark.parametrize("shape", SHAPES)
def test_features(shape: str, tmp_path: Path, parity: Any) -> None:
    """The plain files have no mix: all layers alike. A mix that was learned is used, with norm and without."""
    weights, options, model = made(tmp_path, shape)
    texts = SENTENCES[2:]
    batch = Batch.of([encode(model, text) for text in texts])
    layers = [reference(weights, options, text).numpy() for text in texts]
    count = options["lstm"]["n_layers"] + 1
    ((name, even),) = model.mixes
    assert name == "features" and even.gamma == 1 and even.weights == pytest.approx([1 / count] * count)
    plain = np.concatenate([elmo_numpy.mix(one, [0] * count, 1) for one in layers])
    parity("elmo features", model.network(batch, "features"), torch.from_numpy(plain), reference=NUMPY)
    scalars, gamma = [0.3 * k - 0.5 for k in range(count)], 1.7
    for norm in (False, True):
        head = model.network.heads["features"]
        head.mix.norm = norm
        head.mix.weights.copy_(torch.tensor(scalars))
        head.mix.gamma.fill_(gamma)
        theirs = np.concatenate([elmo_numpy.mix(one, scalars, gamma, norm) for one in layers])
        parity("elmo features", model.network(batch, "features"), torch.from_numpy(theirs), reference=NUMPY)
        shown = elmo_numpy.softmax(np.array(scalars))
        assert model.mixes[0][1].weights == pytest.approx(shown, abs=1e-6)
        assert model.mixes[0][1].gamma == pytest.approx(gamma)


@pytest.mark.parametrize("shape", SHAPES)
def test_language_model(shape: str, tmp_path: Path, parity: Any) -> None:
    """Scores of the next word and of the one before; the probability of a sentence in both directions."""
    weights, options, model = made(tmp_path, shape, "softmax")
    with h5py.File(tmp_path / "softmax_weights.hdf5") as file:
        w, b = file["softmax/W"][...], file["softmax/b"][...]
    words = (tmp_path / "vocab-2016-09-10.txt").read_text().split()
    width = options["lstm"]["projection_dim"]
    batch = Batch.of([encode(model, text) for text in SENTENCES])
    top = torch.cat([reference(weights, options, text) for text in SENTENCES])[:, -1].numpy()
    head = model.network.heads["lm"]
    assert isinstance(head, BothWays)
    ours = model.network(batch, "lm")
    parity("elmo lm", ours, torch.from_numpy(top[:, :width] @ w.T + b), reference=NUMPY)
    back = head.before(model.network.body(batch).last)
    parity("elmo lm backwards", back, torch.from_numpy(top[:, width:] @ w.T + b), reference=NUMPY)
    text = "The cat sat on the mat ."
    stood = ["<S>", *text.split(), "</S>"]
    known = [words.index(word if word in words else "<UNK>") for word in stood]
    one = reference(weights, options, text)[:, -1].numpy()
    logs = [np.log(elmo_numpy.softmax(one[:, part] @ w.T + b)) for part in (slice(None, width), slice(width, None))]
    theirs = [logs[0][t, known[t + 1]] for t in range(len(stood) - 1)]
    parity("elmo lm log-probability", log_probabilities(model, text)[0], torch.tensor(theirs), reference=NUMPY)
    theirs = [logs[1][t + 1, known[t]] for t in range(len(stood) - 1)]
    parity("elmo lm log-probability", log_probabilities(model, text)[1], torch.tensor(theirs), reference=NUMPY)


CHUNKS = {
    "token by token": [(1, 1, 1)] * 9,
    "chunks of all sizes": [(3, 1, 5), (1, 4, 2), (2, 2, 2), (3, 2, 0)],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", CHUNKS)
def test_cached_equals_full(way: str, shape: str, tmp_path: Path, parity: Any) -> None:
    """Words read in chunks over a state, three texts side by side: the forward half of reading them at once."""
    _, options, model = made(tmp_path, shape, "softmax")
    width = options["lstm"]["projection_dim"]
    texts = [encode(model, text).ids[:9] for text in (SENTENCES[6], SENTENCES[4] * 3, SENTENCES[0] + SENTENCES[5])]
    assert model.family.new_state is not None
    state = model.family.new_state(model.config, 3, 99, next(model.network.parameters()))
    parts: list[list[Tensor]] = [[], [], []]
    at = [0, 0, 0]
    for sizes in CHUNKS[way]:
        fresh = [text[a : a + size] for text, a, size in zip(texts, at, sizes, strict=True)]
        batch = Batch.continuing(fresh, state.lengths)
        hidden = model.network.body(batch, state)
        for part, rows in zip(parts, batch.split(hidden.last), strict=True):
            part.append(rows)
        before, state = state, hidden.state
        at = [a + size for a, size in zip(at, sizes, strict=True)]
        assert isinstance(state, ElmoState) and state.lengths == tuple(at)
        assert isinstance(before, ElmoState) and before.lengths != state.lengths, "a state is a value"
    assert at == [9, 9, 9]
    for text, part in zip(texts, parts, strict=True):
        cached = torch.cat(part)
        whole = model.network.body(Batch.continuing([text], [0])).last
        parity("elmo cached against full", cached[..., :width], whole[..., :width], reference=ITSELF)
        assert not cached[:, 1:, width:].any()
        scores = model.network.heads["lm"](cached, None)
        parity("elmo lm cached against full", scores, model.network.heads["lm"](whole, None), reference=ITSELF)


def test_generation(tmp_path: Path) -> None:
    """Greedy words are those that the whole text, read anew each time, would give."""
    _, _, model = made(tmp_path, "two layers, two highways", "softmax")
    ids = model.tokenizer.prompt(model.tokenizer.pieces("The cat")).ids
    steps = list(generation.generate(model, "lm", ids, 6, Sampling()))
    said = list(ids)
    for step in steps:
        whole = model.network(Batch.continuing([said], [0]), "lm")[-1]
        whole[list(model.tokenizer.unsaid)] = -torch.inf  # <S> and <UNK> are never written
        assert step.token == int(whole.argmax())
        assert math.isclose(step.log_probability, float(whole.log_softmax(-1).max()), abs_tol=1e-5)
        said.append(model.tokenizer.reread(step.token))
    assert model.tokenizer.decode([step.token for step in steps])
    assert model.tokenizer.token(model.tokenizer.end or 0) == "</S>"


def same(one: Model, other: Model) -> None:
    """Equal parameters, bit by bit."""
    ours, theirs = slots(one.network), slots(other.network)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("kind", ["hdf5", "softmax"])
def test_converted(kind: str, tmp_path: Path, parity: Any) -> None:
    """Written in our own layout and loaded again: the same bits, words and mix.

    Outputs may differ in their last bit, because numbers lie in memory as they lie in the file, aligned or not.
    """
    _, _, model = made(tmp_path / "from", "three layers, tight clips", kind)
    convert(model, Opened(tmp_path / "from"), tmp_path / "to", [model.family], {})
    again = load(tmp_path / "to")
    assert again.heads == model.heads and again.mixes == model.mixes and again.config == model.config
    batch = Batch.of([encode(model, text) for text in SENTENCES])
    assert batch.ids.equal(Batch.of([encode(again, text) for text in SENTENCES]).ids)
    same(model, again)
    for head in model.heads:
        parity(f"elmo {head} converted", again.network(batch, head), model.network(batch, head), reference=ITSELF)


# The fixtures: numbers that bilm-tf computed in 2018.


def fixture_model(folder: Path, softmax: bool = False) -> Model:
    """The toy model, as a repository."""
    folder.mkdir()
    for name in ("options.json", "lm_weights.hdf5", "vocab_test.txt"):
        shutil.copy(FOLDER / name, folder)
    if softmax:
        shutil.copy(FOLDER / "older" / "elmo_softmax_weights.hdf5", folder)
    return load(folder)


@fixtures
def test_fixture_words(tmp_path: Path, parity: Any) -> None:
    """The character network on 458 words, accents and marks among them."""
    model = fixture_model(tmp_path / "elmo")
    words = (FOLDER / "vocab_test.txt").read_text(encoding="utf-8").split("\n")
    with h5py.File(FOLDER / "elmo_token_embeddings.hdf5") as file:
        theirs = torch.from_numpy(file["embedding"][...])
    ours = model.network.body.words(torch.tensor([model.tokenizer._row(word) for word in words]))
    parity("elmo fixture words", ours, theirs, reference=FIXTURES)


def stream(model: Model, sentences: Sequence[str]) -> list[Tensor]:
    """All layers of each of several sentences that are read as one text, without the marks."""
    parts = [encode(model, sentence) for sentence in sentences]
    whole = Encoding(
        tuple(i for part in parts for i in part.ids),
        tuple(n for n, part in enumerate(parts) for _ in part.ids),
        ((0, 0),) * sum(map(len, parts)),
        (0,) * sum(map(len, parts)),
    )
    rows = model.network.body(Batch.of([whole])).last.split([len(part) for part in parts])
    return [one[1:-1] for one in rows]


@fixtures
@pytest.mark.parametrize("row", [0, 1, 2])
def test_fixture_stream(row: int, tmp_path: Path, parity: Any) -> None:
    """Ten batches of three sentences: each row goes on from the LSTM state of the batch before.

    Read as one text of ten sentences, every one of them comes out as the fixture has it; read alone, the first does.
    """
    model = fixture_model(tmp_path / "elmo")
    sentences = json.loads((FOLDER / "sentences.json").read_text())[row]
    ours, alone = stream(model, sentences), stream(model, sentences[:1])
    with h5py.File(FOLDER / f"lm_embeddings_{row}.hdf5") as file:
        theirs = [torch.from_numpy(np.concatenate(file[str(n)][...], axis=-1)) for n in range(10)]
    parity("elmo fixture top layer", torch.cat(ours)[:, -1], torch.cat(theirs), reference=FIXTURES)
    parity("elmo fixture top layer", alone[0][:, -1], theirs[0], reference=FIXTURES)


@fixtures
def test_fixture_of_february_2018(tmp_path: Path, parity: Any) -> None:
    """All three layers of three batches of ten sentences, again one going on from another."""
    model = fixture_model(tmp_path / "elmo")
    sentences = (FOLDER / "older" / "sentences_2018-02-08.txt").read_text(encoding="utf-8").splitlines()
    assert len(sentences) == 30
    with h5py.File(FOLDER / "older" / "expected_embeddings_2018-02-08.hdf5") as file:
        for row in range(10):
            theirs = [torch.from_numpy(file[str(n)][...]) for n in range(row, 30, 10)]
            ours = [rows.transpose(0, 1) for rows in stream(model, sentences[row::10])]  # [3, T, 2D] each
            parity("elmo fixture layers", torch.cat(ours, dim=1), torch.cat(theirs, dim=1), reference=FIXTURES)


@fixtures
def test_fixture_softmax(tmp_path: Path, parity: Any) -> None:
    """The softmax file of the toy model: it scores the 458 words in the order of the list."""
    model = fixture_model(tmp_path / "elmo", softmax=True)
    assert set(model.heads) == {"features", "lm"} and model.config.vocab_size == 458
    options = json.loads((FOLDER / "options.json").read_text())
    with h5py.File(FOLDER / "lm_weights.hdf5") as file:
        weights = {name: file[name][...] for name in published.bilm_arrays(options)}
    with h5py.File(FOLDER / "older" / "elmo_softmax_weights.hdf5") as file:
        w, b = file["softmax/W"][...], file["softmax/b"][...]
    text = "The government has good employment ."
    top = reference(weights, options, text)[:, -1].numpy()
    ours = model.network(Batch.of([encode(model, text)]), "lm")
    theirs = torch.from_numpy(elmo_numpy.softmax(top[:, :16] @ w.T + b))
    parity("elmo lm probabilities", ours.softmax(-1), theirs, reference=NUMPY)
    ahead, back = log_probabilities(model, text)
    assert len(ahead) == len(back) == 7 and ahead.sum() < 0 > back.sum()


@fixtures
def test_fixture_simple_tagger(tmp_path: Path) -> None:
    """A tagger that AllenNLP trained: the ELMo inside is the toy model's, in AllenNLP's own conversion, bit by bit."""
    model = fixture_model(tmp_path / "elmo")
    path = FOLDER / "simple_tagger_with_elmo" / "serialization" / "best.th"
    tensors = {f"_{name}": tensor for name, tensor in read_tensors([path]).items()}
    elmo = {name: tensor for name, tensor in tensors.items() if name.startswith("_text_field_embedder.")}
    assert len(elmo) == 33 + 4
    nli = published.repository(tmp_path / "nli", "nli")
    inside = load(nli)
    shape = {name: getattr(model.config, name) for name in ("dim", "projection_dim", "filters", "char_dim")}
    config = replace(inside.config, **shape)
    network = empty_network(FAMILY, config, {"nli": inside.heads["nli"]})
    wanted = {n: t.shape for n, t in slots(network).items() if n.startswith("body.") or ".mix." in n}
    filled, _ = keymap.apply(model.family.keys(config, inside.heads, ()), elmo, wanted, str(path), "ELMo")
    for name, tensor in slots(model.network).items():
        if name.startswith("body."):
            assert torch.equal(filled[name], tensor), name
    assert filled["heads.nli.mix.weights"].shape == (3,) and filled["heads.nli.mix.gamma"].shape == (1,)
    assert filled["heads.nli.mix.gamma"] != 1, "it was learned"


@pytest.mark.parametrize("text", SENTENCES[:1] + SENTENCES[2:])
def test_rows_from_text(text: str, tmp_path: Path) -> None:
    """From a text to rows: every word's bytes, and offsets that lead back to it."""
    _, _, model = made(tmp_path, "short words")
    pieces = model.tokenizer.pieces(text)
    encoding = model.tokenizer.assemble(pieces)
    words: Sequence[str] = [text[begin:end] for begin, end in pieces.offsets]
    assert "".join(words) == "".join(text.split())
    assert list(map(list, encoding.ids)) == [elmo_numpy.characters(word, 9) for word in ["<S>", *words, "</S>"]]
    assert encoding.sources == (-1, *[0] * len(words), -1)
