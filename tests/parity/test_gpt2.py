"""GPT-2 against the reference library: every head, layer and attention map; with a cache and without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import AutoTokenizer, GPT2Config

from tests.parity.conftest import ITSELF
from tests.parity.reference import TEXTS, Padded, build, compare_layers, encodings, load, save, save_pickle, write_bpe
from tests.parity.states import CHUNKS, PROMPTS, feed, fresh_state, full, go_through
from zoo.contracts import Batch
from zoo.family import Model

LONGEST = 47
VOCABULARY = 300
PAD = VOCABULARY + 4  # in the embedding, never in a text
LABELS = {index: f"label-{chr(ord('z') - index)}" for index in range(12)}

SHAPES: dict[str, dict[str, Any]] = {
    "gelu_new": {"activation_function": "gelu_new", "n_embd": 24, "n_head": 3, "n_inner": None},
    "gelu": {
        "activation_function": "gelu",
        "n_embd": 20,
        "n_head": 5,
        "n_inner": 33,
        "layer_norm_epsilon": 1e-2,
    },
    "relu": {"activation_function": "relu", "n_embd": 14, "n_head": 1, "n_inner": 9},
    "gelu_pytorch_tanh": {"activation_function": "gelu_pytorch_tanh", "n_embd": 18, "n_head": 2, "n_inner": None},
    "one layer, heads of seven": {"n_embd": 21, "n_head": 3, "n_inner": 17, "n_layer": 1},
    "five layers, heads of one": {"n_embd": 5, "n_head": 5, "n_inner": None, "n_layer": 5},
    "untied": {"n_embd": 22, "n_head": 2, "n_inner": 13, "tie_word_embeddings": False},
}
CLASSES = {
    "model": transformers.GPT2Model,
    "lm": transformers.GPT2LMHeadModel,
    "classifier": transformers.GPT2ForSequenceClassification,
    "tokens": transformers.GPT2ForTokenClassification,
    "span": transformers.GPT2ForQuestionAnswering,
    "choice": transformers.GPT2DoubleHeadsModel,
}
MIXED = (1, 2, 3, 7, 7, LONGEST, 7, 1, 30)


def make(kind: str, shape: str, folder: Path, form: str = "safetensors", **options: Any) -> tuple[Any, Model]:
    """The reference, and ours out of its files."""
    values = {"n_layer": 3, "n_positions": LONGEST, **SHAPES[shape], **options}
    last = VOCABULARY - 1
    config = GPT2Config(
        vocab_size=PAD + 1, id2label=LABELS, pad_token_id=PAD, bos_token_id=last, eos_token_id=last, **values
    )
    model = build(CLASSES[kind], config)
    save(model, folder, form)
    write_bpe(folder, size=VOCABULARY)
    return model, load(folder)


def scores(kind: str, out: Any, padded: Padded) -> Tensor:
    """What the reference gives, as our head of `kind` does."""
    if kind == "span":
        return torch.stack([padded.rows(out.start_logits), padded.rows(out.end_logits)], dim=1)
    return out.logits if kind == "classifier" else padded.rows(out.logits)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["lm", "classifier", "tokens", "span"])
def test_heads(kind: str, shape: str, form: str, tmp_path: Path, parity: Any) -> None:
    """Every head, on texts of mixed lengths, where the reference pads on either side."""
    theirs, ours = make(kind, shape, tmp_path, form)
    assert set(ours.heads) == {kind}
    texts = encodings(MIXED, VOCABULARY)
    for side in ("right", "left"):
        padded = Padded(texts, side, PAD, segments=False)
        parity(f"gpt2 {kind}", ours.network(Batch.of(texts), kind), scores(kind, theirs(**padded.inputs), padded))


@pytest.mark.parametrize("shape", SHAPES)
def test_double_heads(shape: str, tmp_path: Path, parity: Any) -> None:
    """The head that scores answers to choose from, beside the language model."""
    theirs, ours = make("choice", shape, tmp_path)
    assert set(ours.heads) == {"lm", "choice"}
    texts = encodings(MIXED, VOCABULARY)
    padded = Padded(texts, "right", PAD, segments=False)  # of the future nothing is seen, so it needs no mask
    out = theirs(padded.inputs["input_ids"][None], mc_token_ids=torch.tensor([[length - 1 for length in MIXED]]))
    parity("gpt2 choice", ours.network(Batch.of(texts), "choice")[:, 0], out.mc_logits[0])
    parity("gpt2 lm", ours.network(Batch.of(texts), "lm"), padded.rows(out.logits[0]))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("shape", SHAPES)
def test_layers(shape: str, side: str, tmp_path: Path, parity: Any) -> None:
    """Every hidden layer and attention map."""
    theirs, ours = make("model", shape, tmp_path, tie_word_embeddings=True)  # a bare body has no other output
    texts = encodings(MIXED, VOCABULARY, seed=2)
    compare_layers(parity, "gpt2", ours, texts, theirs, Padded(texts, side, PAD, segments=False))


def test_bare_body_is_a_language_model(tmp_path: Path, parity: Any) -> None:
    """The published GPT-2 files have no head and no prefix: the output is tied to the input."""
    theirs, ours = make("model", "gelu_new", tmp_path)
    texts = encodings(MIXED, VOCABULARY)
    padded = Padded(texts, "right", PAD, segments=False)
    hidden = padded.rows(theirs(**padded.inputs).last_hidden_state)
    parity("gpt2 lm", ours.network(Batch.of(texts), "lm"), hidden @ theirs.wte.weight.T)


def test_untied(tmp_path: Path, parity: Any) -> None:
    """An output embedding of its own."""
    theirs, ours = make("lm", "gelu_new", tmp_path, tie_word_embeddings=False)
    assert not torch.equal(theirs.lm_head.weight, theirs.transformer.wte.weight)
    texts = encodings(MIXED, VOCABULARY)
    padded = Padded(texts, "right", PAD, segments=False)
    parity("gpt2 lm", ours.network(Batch.of(texts), "lm"), padded.rows(theirs(**padded.inputs).logits))


@pytest.mark.parametrize("head", [False, True], ids=["no head, no prefix", "head and prefix"])
@pytest.mark.parametrize("new", [False, True], ids=["before torch 1.6", "zip"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bool, torch.float16], ids=str)
def test_old_file_with_masks(dtype: torch.dtype, new: bool, head: bool, tmp_path: Path, parity: Any) -> None:
    """Old files hold every layer's causal mask beside the biases of the same ending, in whatever type."""
    theirs, _ = make("lm", "gelu_new", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    prefix = "transformer." if head else ""
    state = {key.removeprefix("" if head else "transformer."): t for key, t in theirs.state_dict().items()}
    if not head:
        del state["lm_head.weight"]
    for layer in range(3):
        state[f"{prefix}h.{layer}.attn.bias"] = torch.ones(1, 1, LONGEST, LONGEST).tril().to(dtype)
        state[f"{prefix}h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save_pickle(state, tmp_path, new)
    ours = load(tmp_path)
    assert len(ours.report.dropped) == 6 + head  # the buffers and the second name of the embedding
    texts = encodings(MIXED, VOCABULARY)
    padded = Padded(texts, "right", PAD, segments=False)
    parity("gpt2 lm", ours.network(Batch.of(texts), "lm"), padded.rows(theirs(**padded.inputs).logits))


def test_from_text(tmp_path: Path, parity: Any) -> None:
    """From the same words to the same scores."""
    theirs, ours = make("lm", "gelu_new", tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    for text in filter(None, TEXTS):
        encoding = ours.tokenizer.assemble(ours.tokenizer.pieces(text))
        inputs = read(text, return_tensors="pt")
        assert [list(encoding.ids)] == inputs["input_ids"].tolist()
        parity("gpt2 lm from text", ours.network(Batch.of([encoding]), "lm"), theirs(**inputs).logits[0])


def test_labels_keep_the_order_of_the_file(tmp_path: Path) -> None:
    """Label names belong to columns by number: label 2 stands before label 10."""
    _, ours = make("classifier", "gelu_new", tmp_path)
    assert ours.heads["classifier"].labels == tuple(LABELS.values())


def test_neighbours_change_nothing(tmp_path: Path, parity: Any) -> None:
    """A text's scores do not depend on the other texts of the batch, nor on its place."""
    _, ours = make("classifier", "gelu_new", tmp_path)
    texts = encodings(MIXED, VOCABULARY, seed=3)
    together = ours.network(Batch.of(texts), "classifier")
    for index, text in enumerate(texts):
        alone = ours.network(Batch.of([text]), "classifier")[0]
        parity("gpt2 alone or together", together[index], alone, reference=ITSELF)
    turned = ours.network(Batch.of(texts[::-1]), "classifier")
    parity("gpt2 alone or together", together.flip(0), turned, reference=ITSELF)


# With a state: what was read before is not read again.


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", CHUNKS)
def test_cached_equals_full(way: str, shape: str, tmp_path: Path, parity: Any) -> None:
    """Several texts of different lengths, read in chunks over one state, equal one full pass and the reference."""
    theirs, ours = make("lm", shape, tmp_path)
    chunks = [PROMPTS, *CHUNKS[way]]
    texts = encodings([sum(sizes) for sizes in zip(*chunks, strict=True)], VOCABULARY, seed=4)
    assert way != "to the last position" or [len(text) for text in texts] == [LONGEST] * 4
    padded = Padded(texts, "right", PAD, segments=False)
    reference = padded.rows(theirs(**padded.inputs).logits)
    cached = go_through(ours, texts, chunks)
    parity("gpt2 cached against full", torch.cat(cached), torch.cat(full(ours, texts)), reference=ITSELF)
    parity("gpt2 cached against the reference's full", torch.cat(cached), reference)


@pytest.mark.parametrize("shape", SHAPES)
def test_cached_equals_reference_cached(shape: str, tmp_path: Path, parity: Any) -> None:
    """Step by step beside the reference's past_key_values; the keys and values themselves agree."""
    theirs, ours = make("lm", shape, tmp_path)
    texts = encodings([17, 11, 23], VOCABULARY, seed=5)
    state, pasts, at = fresh_state(ours, 3), [None, None, None], 0
    for size in (4, 1, 1, 3, 2):
        part = [text.ids[at : at + size] for text in texts]
        logits, state = feed(ours, state, part)
        for index, ids in enumerate(part):
            out = theirs(torch.tensor([ids]), past_key_values=pasts[index], use_cache=True)
            pasts[index] = out.past_key_values
            parity("gpt2 cached against the reference's cached", logits[index], out.logits[0])
        at += size
    for index, past in enumerate(pasts):
        assert past is not None and past.get_seq_length() == at == state.lengths[index]
        for layer in range(ours.config.n_layer):
            parity("gpt2 keys", state.buffers[index][layer, 0, :, :at], past.layers[layer].keys[0])
            parity("gpt2 values", state.buffers[index][layer, 1, :, :at], past.layers[layer].values[0])


def test_fresh_beside_old(tmp_path: Path, parity: Any) -> None:
    """A text that starts anew beside one that goes on, in chunks of the same size."""
    _, ours = make("lm", "gelu_new", tmp_path)
    texts = encodings([9, 9], VOCABULARY, seed=6)
    _, state = feed(ours, fresh_state(ours, 2), [texts[0].ids[:3], texts[1].ids[:6]])
    state = replace(state, lengths=(0, 6))
    logits, state = feed(ours, state, [texts[0].ids[:3], texts[1].ids[6:]])
    assert state.lengths == (3, 9)
    wanted = full(ours, texts)
    parity("gpt2 cached against full", torch.cat(logits), torch.cat([wanted[0][:3], wanted[1][6:]]), reference=ITSELF)


def test_streams_share_nothing(tmp_path: Path, parity: Any) -> None:
    """Two visitors take turns, token by token, over states of their own: each gets what it gets alone."""
    _, ours = make("lm", "gelu_new", tmp_path)
    texts = encodings([12, 12], VOCABULARY, seed=7)
    states = [fresh_state(ours, 1), fresh_state(ours, 1)]
    parts: list[list[Tensor]] = [[], []]
    for at in range(12):
        for index, text in enumerate(texts):
            logits, states[index] = feed(ours, states[index], [text.ids[at : at + 1]])
            parts[index] += logits
    for part, wanted in zip(parts, full(ours, texts), strict=True):
        parity("gpt2 cached against full", torch.cat(part), wanted, reference=ITSELF)
    assert states[0].buffers[0].data_ptr() != states[1].buffers[0].data_ptr()
    assert not list(ours.network.buffers()), "a module keeps something beside its parameters"


def test_a_state_is_a_value(tmp_path: Path, parity: Any) -> None:
    """Going on does not change the state one went on from: one can go back and take another way."""
    _, ours = make("lm", "gelu_new", tmp_path)
    (text,) = encodings([10], VOCABULARY, seed=8)
    (other,) = encodings([10], VOCABULARY, seed=9)
    _, early = feed(ours, fresh_state(ours, 1), [text.ids[:4]])
    feed(ours, early, [other.ids[4:]])
    assert early.lengths == (4,)
    logits, late = feed(ours, early, [text.ids[4:]])
    assert late.lengths == (10,)
    parity("gpt2 cached against full", logits[0], full(ours, [text])[0][4:], reference=ITSELF)
