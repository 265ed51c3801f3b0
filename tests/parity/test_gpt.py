"""GPT against the reference library: every head, layer and attention map; with a cache and without."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import OpenAIGPTConfig
from transformers.models.openai.modeling_openai import Attention

from tests.parity import states
from tests.parity.conftest import ITSELF
from tests.parity.reference import (
    Padded,
    build,
    compare_layers,
    encodings,
    load,
    save,
    save_pickle,
)
from tests.published import gpt as published
from zoo import Engine
from zoo.contracts import Batch
from zoo.errors import BadCheckpoint, CheckpointMismatch
from zoo.family import Model
from zoo.layers.attention import CausalAttention
from zoo.models.shelf import FAMILIES
from zoo.sampling import Sampling
from zoo.weights.load import load_folder

LONGEST = 47
VOCABULARY = 99  # tokens of the small vocabulary
PAD = VOCABULARY + 4  # in the embedding, never in a text
LABELS = {index: f"label-{chr(ord('z') - index)}" for index in range(12)}

SHAPES: dict[str, dict[str, Any]] = {
    "gelu": {"afn": "gelu", "n_embd": 24, "n_head": 3},
    "relu": {"afn": "relu", "n_embd": 20, "n_head": 5, "layer_norm_epsilon": 1e-2},
    "silu, one head": {"afn": "silu", "n_embd": 14, "n_head": 1},
    "swish, heads of seven": {"afn": "swish", "n_embd": 21, "n_head": 3},
    "one layer": {"afn": "gelu", "n_embd": 22, "n_head": 2, "n_layer": 1},
    "heads of one": {"afn": "gelu", "n_embd": 5, "n_head": 5, "n_layer": 4},
    "untied": {"afn": "gelu", "n_embd": 18, "n_head": 2, "tie_word_embeddings": False},
}
CLASSES = {
    "model": transformers.OpenAIGPTModel,
    "lm": transformers.OpenAIGPTLMHeadModel,
    "classifier": transformers.OpenAIGPTForSequenceClassification,
    "choice": transformers.OpenAIGPTDoubleHeadsModel,
}
MIXED = (1, 2, 3, 7, 7, LONGEST, 7, 1, 30)


def make(
    kind: str, shape: str, folder: Path, form: str = "safetensors", added: Sequence[str] = (), **options: Any
) -> tuple[Any, Model]:
    """The reference, and ours out of its files."""
    values = {"n_layer": 3, "n_positions": LONGEST, **SHAPES[shape], **options}
    config = OpenAIGPTConfig(vocab_size=PAD + 1, id2label=LABELS, pad_token_id=PAD, **values)
    model = build(CLASSES[kind], config)
    save(model, folder, form)
    published.write_vocabulary(folder)
    if added:
        tokens = {token: VOCABULARY + index for index, token in enumerate(added)}
        (folder / "added_tokens.json").write_text(json.dumps(tokens), encoding="utf-8")
    return model, load(folder)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["lm", "classifier"])
def test_heads(kind: str, shape: str, form: str, tmp_path: Path, parity: Any) -> None:
    """Every head, on texts of mixed lengths, where the reference pads on either side."""
    theirs, ours = make(kind, shape, tmp_path, form)
    assert set(ours.heads) == {kind}
    texts = encodings(MIXED, VOCABULARY)
    for side in ("right", "left"):
        padded = Padded(texts, side, PAD, segments=False)
        logits = theirs(**padded.inputs).logits
        wanted = logits if kind == "classifier" else padded.rows(logits)
        parity(f"gpt {kind}", ours.network(Batch.of(texts), kind), wanted)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("shape", SHAPES)
def test_double_heads(shape: str, form: str, tmp_path: Path, parity: Any) -> None:
    """The head that scores answers to choose from, beside the language model; read at the last token of each text."""
    theirs, ours = make("choice", shape, tmp_path, form)
    assert set(ours.heads) == {"lm", "choice"}
    texts = encodings(MIXED, VOCABULARY)
    padded = Padded(texts, "right", PAD, segments=False)  # it takes no mask; of the future nothing is seen
    last = torch.tensor([[length - 1 for length in MIXED]])
    out = theirs(padded.inputs["input_ids"][None], mc_token_ids=last)
    parity("gpt choice", ours.network(Batch.of(texts), "choice")[:, 0], out.mc_logits[0])
    parity("gpt lm", ours.network(Batch.of(texts), "lm"), padded.rows(out.logits[0]))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("shape", SHAPES)
def test_layers(shape: str, side: str, tmp_path: Path, parity: Any) -> None:
    """Every hidden layer and attention map; a bare body without prefix is a language model."""
    theirs, ours = make("model", shape, tmp_path, tie_word_embeddings=True)
    assert set(ours.heads) == {"lm"}
    texts = encodings(MIXED, VOCABULARY, seed=2)
    padded = Padded(texts, side, PAD, segments=False)
    out = compare_layers(parity, "gpt", ours, texts, theirs, padded)
    logits = padded.rows(out.last_hidden_state) @ theirs.tokens_embed.weight.T
    parity("gpt lm", ours.network(Batch.of(texts), "lm"), logits)


def test_the_longest_text(tmp_path: Path, parity: Any) -> None:
    """512 positions, as the published model has, to the last one; one more is refused."""
    theirs, ours = make("lm", "gelu", tmp_path, n_positions=512)
    assert ours.longest == 512
    texts = encodings((512, 511, 512, 3), VOCABULARY, seed=3)
    padded = Padded(texts, "right", PAD, segments=False)
    parity("gpt lm", ours.network(Batch.of(texts), "lm"), padded.rows(theirs(**padded.inputs).logits))
    (found,) = Engine(open_model=lambda name, progress: load(tmp_path)).generate(
        str(tmp_path), None, "a " * 600, "", 1, Sampling()
    )
    assert found.read.tokens == 511 and found.read.cut


def _weights(attention: Attention, scores: Tensor) -> Tensor:
    """What the reference's attention makes of scores [T, T]: queries of one unit each, keys that spell the scores."""
    size = len(scores)
    q = torch.eye(size)[None, None] * size**0.5
    return attention._attn(q, scores[None, None], torch.eye(size)[None, None], output_attentions=True)[1][0, 0]


def test_soft_mask_equals_hard_mask(parity: Any) -> None:
    """The reference gives the future a score of -10,000: weight 0 to the last bit, for any score above -9,890."""
    size, chance = 16, torch.Generator().manual_seed(0)
    attention = Attention(size, size, OpenAIGPTConfig(n_embd=size, n_head=1, n_positions=size), scale=True).eval()
    future = torch.ones(size, size, dtype=torch.bool).triu(1)
    for scale in (1, 100, 1_000, 9_000):
        scores = torch.randn(size, size, generator=chance).clamp(-1, 1) * scale
        soft, hard = _weights(attention, scores), scores.masked_fill(future, float("-inf")).softmax(-1)
        assert not soft[future].any()
        parity("gpt soft mask against hard mask", hard, soft)
    assert not _weights(attention, torch.full((size, size), -9_890.0))[future].any()
    assert _weights(attention, torch.full((size, size), -9_999.0))[future].max() > 1e-5, "the limit the comment names"


def test_attention_that_cannot_look_ahead(parity: Any) -> None:
    """One layer of attention against the reference's, with scores of many thousands."""
    width, length, heads = 24, 11, 3
    config = OpenAIGPTConfig(n_embd=width, n_head=heads, n_positions=length)
    theirs, ours = Attention(width, length, config, scale=True).eval(), CausalAttention(width, heads).eval()
    chance = torch.Generator().manual_seed(1)
    for mine, its in ((ours.qkv, theirs.c_attn), (ours.out, theirs.c_proj)):
        its.weight.copy_(torch.randn(its.weight.shape, generator=chance))
        its.bias.copy_(torch.randn(its.bias.shape, generator=chance))
        mine.weight.copy_(its.weight.T)
        mine.bias.copy_(its.bias)
    (text,) = encodings([length], 5)
    for scale in (1, 4, 8):
        x = torch.randn(length, width, generator=chance) * scale
        wanted = theirs(x[None])[0][0]
        unit = wanted.abs().max()  # what comes out is as large as what went in
        parity("gpt soft mask against hard mask", ours(x, Batch.of([text])) / unit, wanted / unit)


def test_old_file_with_masks(tmp_path: Path, parity: Any) -> None:
    """The published file has no prefix and no head, and holds every layer's mask and the positions."""
    theirs, _ = make("lm", "gelu", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    state = {key.removeprefix("transformer."): tensor for key, tensor in theirs.state_dict().items()}
    del state["lm_head.weight"]
    state["position_ids"] = torch.arange(LONGEST)
    for layer in range(3):
        state[f"h.{layer}.attn.bias"] = torch.ones(1, 1, LONGEST, LONGEST).tril()
    save_pickle(state, tmp_path, new=False)
    ours = load(tmp_path)
    assert len(ours.report.dropped) == 4
    texts = encodings(MIXED, VOCABULARY)
    padded = Padded(texts, "right", PAD, segments=False)
    parity("gpt lm", ours.network(Batch.of(texts), "lm"), padded.rows(theirs(**padded.inputs).logits))


def test_files_of_2019(tmp_path: Path, parity: Any) -> None:
    """Heads under their first names, added tokens that vocab_size leaves out, no model_type."""
    theirs, new = make("choice", "gelu", tmp_path / "new", added=published.ADDED)
    old_folder = tmp_path / "old"
    published.write_vocabulary(old_folder)
    state = dict(theirs.state_dict())
    state["lm_head.decoder.weight"] = state.pop("lm_head.weight")
    for p in ("weight", "bias"):
        state[f"multiple_choice_head.linear.{p}"] = state.pop(f"multiple_choice_head.summary.{p}")
    save_pickle(state, old_folder, new=False)
    raw = json.loads((tmp_path / "new" / "config.json").read_text(encoding="utf-8"))
    first = ("afn", "n_embd", "n_head", "n_layer", "n_positions", "layer_norm_epsilon")
    raw = {name: raw[name] for name in first} | {"vocab_size": VOCABULARY, "n_special": PAD + 1 - VOCABULARY}
    (old_folder / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    (old_folder / "special_tokens.txt").write_text("\n".join(published.ADDED) + "\n", encoding="utf-8")
    old = load_folder(old_folder, FAMILIES, assumed="gpt")
    texts = [m.tokenizer.assemble(m.tokenizer.pieces("a cat"), m.tokenizer.pieces("it")) for m in (old, new)]
    assert texts[0] == texts[1]
    for head in ("lm", "choice"):
        scores = [model.network(Batch.of(texts[:1]), head) for model in (old, new)]
        parity("gpt files of 2019 against those of today", *scores, reference=ITSELF)


def test_variants_not_computed_are_refused(tmp_path: Path) -> None:
    """Another activation, and a choice head that is more than a linear map."""
    for kind, change in (("lm", {"afn": "tanh"}), ("choice", {"summary_activation": "tanh"}), ("lm", {"n_head": 7})):
        make(kind, "gelu", tmp_path / f"{kind} {change}")
        path = tmp_path / f"{kind} {change}" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
        with pytest.raises(BadCheckpoint, match=next(iter(change))):
            load(path.parent)


@pytest.mark.parametrize("key", ["transformer.h.1.ln_2.bias", "multiple_choice_head.summary.weight"])
def test_no_partial_load(key: str, tmp_path: Path) -> None:
    """One tensor too few and nothing is loaded."""
    theirs, _ = make("choice", "gelu", tmp_path, "bin")
    state = theirs.state_dict()
    del state[key]
    save_pickle(state, tmp_path)
    with pytest.raises(CheckpointMismatch) as error:
        load(tmp_path)
    assert len(error.value.details["missing"]) == 1


def test_labels_keep_the_order_of_the_file(tmp_path: Path) -> None:
    """Label names belong to columns by number: label 2 stands before label 10."""
    _, ours = make("classifier", "gelu", tmp_path)
    assert ours.heads["classifier"].labels == tuple(LABELS.values())


@pytest.mark.parametrize("kind", ["classifier", "choice"])
def test_neighbours_change_nothing(kind: str, tmp_path: Path, parity: Any) -> None:
    """A text's scores do not depend on the other texts of the batch, nor on its place."""
    _, ours = make(kind, "gelu", tmp_path)
    texts = encodings(MIXED, VOCABULARY, seed=3)
    together = ours.network(Batch.of(texts), kind)
    for index, text in enumerate(texts):
        alone = ours.network(Batch.of([text]), kind)[0]
        parity("gpt alone or together", together[index], alone, reference=ITSELF)
    turned = ours.network(Batch.of(texts[::-1]), kind)
    parity("gpt alone or together", together.flip(0), turned, reference=ITSELF)


# With a state, which the reference does not have for this family: it reads all of a text for each new token.


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", states.CHUNKS)
def test_cached_equals_full(way: str, shape: str, tmp_path: Path, parity: Any) -> None:
    """Several texts of different lengths, read in chunks over one state, equal one full pass and the reference."""
    theirs, ours = make("lm", shape, tmp_path)
    chunks = [states.PROMPTS, *states.CHUNKS[way]]
    texts = encodings([sum(sizes) for sizes in zip(*chunks, strict=True)], VOCABULARY, seed=4)
    padded = Padded(texts, "right", PAD, segments=False)
    cached = torch.cat(states.go_through(ours, texts, chunks))
    parity("gpt cached against full", cached, torch.cat(states.full(ours, texts)), reference=ITSELF)
    parity("gpt cached against the reference's full", cached, padded.rows(theirs(**padded.inputs).logits))


def test_generation(tmp_path: Path) -> None:
    """Token by token the reference's own greedy continuation, which has no cache."""
    theirs, ours = make("lm", "gelu", tmp_path)
    made = list(Engine().generate(str(tmp_path), None, "the cat", "sat on", 15, Sampling()))
    prompt = list(ours.tokenizer.prompt(ours.tokenizer.pieces("the cat sat on")).ids)
    ids = list(prompt)
    for _ in range(15):
        ids.append(int(theirs(torch.tensor([ids])).logits[0, -1].argmax()))
    assert made[-1].text == ours.tokenizer.decode(ids[len(prompt) :])
    assert made[-1].tokens == 15
