"""XLNet against the reference library: every layer, attention map and head, on texts read at once."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import XLNetConfig

from tests.parity.reference import Padded, build, compare_layers, encodings, load
from tests.published.xlnet import CLASSES, STAND_IN, repository, spiece, write
from zoo.contracts import Batch, Encoding
from zoo.errors import BadCheckpoint, CheckpointMismatch
from zoo.family import Model
from zoo.training.export import export
from zoo.weights.load import load_folder

VOCABULARY = len(STAND_IN)
PAD = 5
LABELS = {index: f"label-{chr(ord('z') - index)}" for index in range(12)}
MIXED = (3, 4, 9, 9, 100, 9, 3, 40)
DEFAULT: dict[str, Any] = {"d_model": 24, "n_head": 3, "n_layer": 3, "d_inner": 33, "mem_len": None}

SHAPES: dict[str, dict[str, Any]] = {
    "gelu": {},
    "relu, one layer, one head": {"ff_activation": "relu", "n_layer": 1, "n_head": 1, "d_model": 14},
    "heads of 5": {"ff_activation": "gelu_new", "d_head": 5, "layer_norm_eps": 1e-2},  # 3 * 5 is not the width
    "wide heads": {"d_head": 11, "n_head": 4, "d_model": 16, "n_layer": 2},
    "clamped": {"clamp_len": 7, "d_model": 20, "n_head": 5, "d_inner": 9},
    "uni": {"attn_type": "uni", "ff_activation": "relu"},
    "uni, same length": {"attn_type": "uni", "same_length": True, "d_model": 18, "n_head": 2},
    "uni, clamped": {"attn_type": "uni", "clamp_len": 4, "d_head": 7, "n_layer": 2},
}
HEADS = ["lm", "classifier", "tokens", "span", "choice"]


def make(kind: str, shape: str, folder: Path, form: str = "safetensors", **options: Any) -> tuple[Any, Model]:
    """The reference, and ours out of its files."""
    values = DEFAULT | SHAPES[shape] | options
    size = values.pop("d_head", None)
    labels = {} if kind == "span" else {"id2label": LABELS}  # the plain span head has as many columns as labels: two
    config = XLNetConfig(vocab_size=VOCABULARY, **labels, **values)
    if size is not None:  # published code of 2019 takes any; the reference's config of today only takes it afterwards
        config.d_head = size
    model = build(getattr(transformers, CLASSES[kind]), config)
    write(model, folder, form)
    (folder / "spiece.model").write_bytes(spiece(STAND_IN))
    return model, load(folder)


def padded_to(side: str, texts: list[Encoding]) -> Padded:
    """As the reference reads them; it knows no positions."""
    padded = Padded(texts, side, PAD)
    del padded.inputs["position_ids"]
    return padded


def ask(model: Any, **inputs: Any) -> Any:
    """What the reference gives; text by text where it looks only back, for it then takes no mask of several texts."""
    flags = {name: value for name, value in inputs.items() if not isinstance(value, Tensor)}
    tensors = {name: value for name, value in inputs.items() if isinstance(value, Tensor)}
    if model.config.attn_type == "bi":
        return model(**inputs, use_mems=False)
    count = len(tensors["input_ids"])
    rows = [{name: value[i : i + 1] for name, value in tensors.items()} for i in range(count)]
    outs = [model(**row, **flags, use_mems=False) for row in rows]
    joined = {name: _join([out[name] for out in outs]) for name in outs[0]}
    return SimpleNamespace(**joined)


def _join(parts: list[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(_join(list(layer)) for layer in zip(*parts, strict=True))


def scores(kind: str, theirs: Any, padded: Padded) -> Tensor:
    """What the reference gives, as our head of `kind` does."""
    if kind == "choice":
        return ask(theirs, **{name: values[:, None] for name, values in padded.inputs.items()}).logits
    out = ask(theirs, **padded.inputs)
    if kind == "span":
        return torch.stack([padded.rows(out.start_logits), padded.rows(out.end_logits)], dim=1)
    return out.logits if kind == "classifier" else padded.rows(out.logits)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("shape", SHAPES)
def test_layers(shape: str, side: str, tmp_path: Path, parity: Any) -> None:
    """Every hidden layer and attention map, with segments."""
    theirs, ours = make("bare", shape, tmp_path)
    assert not ours.heads
    texts = encodings(MIXED, VOCABULARY, seed=2, pairs=True)
    compare_layers(parity, "xlnet", ours, texts, partial(ask, theirs), padded_to(side, texts))


@pytest.mark.parametrize("form", ["safetensors", "bin", "old"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", HEADS)
def test_heads(kind: str, shape: str, form: str, tmp_path: Path, parity: Any) -> None:
    """Every head, on texts of mixed lengths; the reference sums up the last place, so it must pad on the left there."""
    theirs, ours = make(kind, shape, tmp_path, form)
    assert set(ours.heads) == {kind}
    texts = encodings(MIXED, VOCABULARY, pairs=True)
    for side in ("left",) if kind in ("classifier", "choice") else ("left", "right"):
        parity(f"xlnet {kind}", ours.network(Batch.of(texts), kind), scores(kind, theirs, padded_to(side, texts)))


def test_a_text_summed_up_as_the_mean_of_its_rows(tmp_path: Path) -> None:
    """`summary_type` "mean"; text by text, for the reference takes padding for rows of the text."""
    theirs, ours = make("classifier", "gelu", tmp_path, summary_type="mean")
    for text in encodings(MIXED, VOCABULARY, pairs=True):
        found = ours.network(Batch.of([text]), "classifier")
        torch.testing.assert_close(found, scores("classifier", theirs, padded_to("left", [text])), atol=5e-6, rtol=0)


def questions(lengths: tuple[int, ...], all_passage: bool = False) -> list[Encoding]:
    """Passage, <sep>, question, <sep>, <cls>, with random ids."""
    made = []
    for text in encodings(lengths, VOCABULARY, seed=3):
        passage = max(1, (len(text) - 3) * 2 // 3)
        question = len(text) - 3 - passage
        sources = (1,) * passage + (-1,) + (0,) * question + (-1, -1)
        segments = (0,) * (passage + 1) + (1,) * (question + 1) + (2,)
        made.append(Encoding(text.ids, segments, text.offsets, (1,) * len(text) if all_passage else sources))
    return made


def compare_beams(parity: Any, ours: Tensor, theirs: Any, index: int, offset: int, what: str) -> None:
    """One text's columns against the reference's lists of best starts and ends."""
    starts, count = theirs.start_top_index[index] - offset, theirs.start_top_index.shape[1]
    ends = theirs.end_top_index[index].view(-1, count) - offset  # [ends, starts]
    chances = theirs.end_top_log_probs[index].view(-1, count)  # probabilities, despite the name
    parity(f"xlnet {what}", ours[0, 1], theirs.cls_logits[index])
    compare_best(parity, what, ours[:, 0], starts, theirs.start_top_log_probs[index])
    for column in range(int((theirs.start_top_log_probs[index] > 0).sum())):
        compare_best(parity, what, ours[:, 2 + column], ends[:, column], chances[:, column])


def compare_best(parity: Any, what: str, ours: Tensor, places: Tensor, chances: Tensor) -> None:
    """Our best [T] are the reference's; behind them come tokens outside of the passage, in no order."""
    real = chances > 1e-6
    parity(f"xlnet {what}", ours.topk(len(chances)).values.exp(), chances)
    parity(f"xlnet {what}", ours[places[real]], chances[real].log())


@pytest.mark.parametrize("form", ["safetensors", "old"])
@pytest.mark.parametrize("shape", SHAPES)
def test_beams(shape: str, form: str, tmp_path: Path, parity: Any) -> None:
    """Starts, ends for each and "no answer", where only the passage and <cls> may answer."""
    theirs, ours = make("beams", shape, tmp_path, form, start_n_top=4, end_n_top=4)
    assert ours.heads["span"].beams == 4
    texts = questions((4, 7, 30, 30, 100, 12))
    scored = list(Batch.of(texts).split(ours.network(Batch.of(texts), "span")))
    for side in ("left", "right"):
        padded = padded_to(side, texts)
        forbidden = torch.ones(padded.inputs["input_ids"].shape)
        for index, (text, (begin, _)) in enumerate(zip(texts, padded.spans, strict=True)):
            for place, source in enumerate(text.sources):
                forbidden[index, begin + place] = float(source != 1 and place != len(text) - 1)
        last = torch.tensor([end - 1 for _, end in padded.spans])
        out = ask(theirs, **padded.inputs, p_mask=forbidden, cls_index=last)
        for index, (begin, _) in enumerate(padded.spans):
            compare_beams(parity, scored[index], out, index, begin, "beams of span")


@pytest.mark.parametrize("shape", SHAPES)
def test_beams_without_a_mask(shape: str, tmp_path: Path, parity: Any) -> None:
    """Where all tokens may answer, and starts and ends of different number; the fewer are followed up."""
    theirs, ours = make("beams", shape, tmp_path, start_n_top=3, end_n_top=5)
    assert ours.heads["span"].beams == 3
    for text in questions((5, 9, 60), all_passage=True):
        padded = padded_to("left", [text])
        out = ask(theirs, **padded.inputs)
        compare_beams(parity, ours.network(Batch.of([text]), "span"), out, 0, 0, "beams of span, no mask")


def test_beams_of_a_short_text(tmp_path: Path) -> None:
    """A text of fewer tokens than beams has as many starts as tokens, and nothing behind them."""
    _, ours = make("beams", "gelu", tmp_path)
    scored = ours.network(Batch.of(questions((4,))), "span")
    assert scored.shape == (4, 2 + 5)
    assert torch.isfinite(scored[:, :6]).all()
    assert scored[:, 6].eq(float("-inf")).all()


def test_untied(tmp_path: Path, parity: Any) -> None:
    """An output embedding of its own."""
    theirs, ours = make("lm", "gelu", tmp_path, tie_word_embeddings=False)
    assert not torch.equal(theirs.lm_loss.weight, theirs.transformer.word_embedding.weight)
    texts = encodings(MIXED, VOCABULARY)
    parity("xlnet lm", ours.network(Batch.of(texts), "lm"), scores("lm", theirs, padded_to("left", texts)))


def test_neighbours_change_nothing(tmp_path: Path, parity: Any) -> None:
    """A text's scores do not depend on the other texts of the batch, nor on its place."""
    _, ours = make("classifier", "gelu", tmp_path)
    texts = encodings(MIXED, VOCABULARY, seed=3, pairs=True)
    together = ours.network(Batch.of(texts), "classifier")
    for index, text in enumerate(texts):
        alone = ours.network(Batch.of([text]), "classifier")[0]
        parity("xlnet alone or together", together[index], alone, reference="itself")
    flipped = ours.network(Batch.of(texts[::-1]), "classifier")
    parity("xlnet alone or together", together.flip(0), flipped, reference="itself")


def test_segments_of_one_kind_are_none(tmp_path: Path, parity: Any) -> None:
    """The reference without segments leaves their term out; one segment for all adds the same to all, which is none."""
    theirs, ours = make("bare", "gelu", tmp_path)
    texts = encodings(MIXED, VOCABULARY)
    padded = padded_to("left", texts)
    del padded.inputs["token_type_ids"]
    compare_layers(parity, "xlnet", ours, texts, partial(ask, theirs), padded)


def test_labels_keep_the_order_of_the_file(tmp_path: Path) -> None:
    """Label names belong to columns by number: label 2 stands before label 10."""
    _, ours = make("classifier", "gelu", tmp_path)
    assert ours.heads["classifier"].labels == tuple(LABELS.values())


@pytest.mark.parametrize("kind", [*HEADS, "beams"])
def test_our_own_layout(kind: str, tmp_path: Path, parity: Any) -> None:
    """Written in the layout of this project and read again: the same numbers, config and tokens."""
    _, ours = make(kind, "heads of 5", tmp_path)
    heads, folder = ours.heads, tmp_path / "ours"
    export(folder, ours.family, ours.config, ours.network, heads, ours.tokenizer, quantized=False)
    again = load_folder(folder, [ours.family])
    assert again.config == ours.config
    assert dict(again.heads) == dict(heads)
    batch = Batch.of(questions((9, 30)))
    for head in heads:
        parity("xlnet own layout", again.network(batch, head), ours.network(batch, head), reference="itself")
    text = "the cat, 19, sat. <mask>"
    assert again.tokenizer.pieces(text) == ours.tokenizer.pieces(text)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("form", ["safetensors", "bin", "old"])
def test_published_repositories(kind: str, form: str, tmp_path: Path) -> None:
    """The repositories that the tests of the Hub serve load, with the heads of their kind."""
    labels = ("no", "yes", "maybe") if kind in ("classifier", "tokens") else ()
    ours = load(repository(tmp_path, kind, labels, form))
    expected = {"bare": set(), "beams": {"span"}}.get(kind, {kind})
    assert set(ours.heads) == expected
    if labels:
        assert ours.heads[kind].labels == labels


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ff_activation": "swish"}, "ff_activation"),
        ({"bi_data": True}, "bi_data"),
        ({"summary_type": "attn"}, "summary_type"),
        ({"attn_type": "both"}, "attn_type"),
        ({"d_model": None}, "d_model"),
        ({"d_model": 15}, "even"),
    ],
)
def test_other_variants_are_refused(options: dict[str, Any], named: str, tmp_path: Path) -> None:
    """What is not computed here is refused by name."""
    repository(tmp_path, "classifier", ("no", "yes"))
    said = json.loads((tmp_path / "config.json").read_text()) | options
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(BadCheckpoint, match=named):
        load(tmp_path)


def test_heads_and_sizes_swapped(tmp_path: Path) -> None:
    """Maps of another number of heads are refused, although they hold as many numbers."""
    repository(tmp_path, "lm")
    said = json.loads((tmp_path / "config.json").read_text()) | {"n_head": 8, "d_head": 2}
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(CheckpointMismatch, match="wrong shape"):
        load(tmp_path)
