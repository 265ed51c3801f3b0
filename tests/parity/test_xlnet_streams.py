"""XLNet beyond one pass over whole texts: memories, permutations with the second stream, generation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.parity import tf_checkpoint
from tests.parity.conftest import ITSELF
from tests.parity.reference import SHARED, encodings, load
from tests.parity.test_xlnet import PAD, SHAPES, VOCABULARY, make
from tests.published.xlnet import STAND_IN, spiece
from zoo.contracts import Batch, Encoding, Trace
from zoo.family import Model
from zoo.generation import generate
from zoo.layers.relative import Memory
from zoo.models.xlnet import Prefix, Xlnet
from zoo.sampling import Sampling

pytestmark = pytest.mark.usefixtures("small_blocks")

BI = [name for name, options in SHAPES.items() if options.get("attn_type") != "uni"]
UNI = [name for name in SHAPES if name not in BI]
CAUSAL = [name for name in UNI if not SHAPES[name].get("same_length")]


def body(model: Model) -> Xlnet:
    """Ours."""
    assert isinstance(model.network.body, Xlnet)
    return model.network.body


def empty(model: Model, texts: int) -> Memory:
    """A memory of nothing."""
    return Memory.empty(model.config.n_layer, model.config.d_model, texts, next(model.network.parameters()))


def part(text: Encoding, begin: int, end: int | None = None) -> Encoding:
    """Some tokens of a text."""
    cut = slice(begin, end)
    return Encoding(text.ids[cut], text.segments[cut], text.offsets[cut], text.sources[cut])


def inputs(text: Encoding) -> dict[str, Tensor]:
    """One text as the reference reads it."""
    return {"input_ids": torch.tensor([text.ids]), "token_type_ids": torch.tensor([text.segments])}


# Memories


@pytest.mark.parametrize("kept", [{}, {"mem_len": 6}, {"mem_len": 9, "reuse_len": 4}, {"mem_len": 0, "reuse_len": 5}])
@pytest.mark.parametrize("shape", SHAPES)
def test_memories(shape: str, kept: dict[str, int], tmp_path: Path, parity: Any) -> None:
    """Three parts of three texts, each after what is remembered of it; the reference text by text."""
    theirs, ours = make("bare", shape, tmp_path, **kept)
    texts = encodings((20, 31, 20), VOCABULARY, seed=4, pairs=True)
    memory, mems = empty(ours, 3), [None] * 3
    for begins, ends in (((0, 0, 0), (7, 12, 7)), ((7, 12, 7), (8, 13, 15)), ((8, 13, 15), (20, 31, 20))):
        parts = [part(text, begin, end) for text, begin, end in zip(texts, begins, ends, strict=True)]
        batch, trace = Batch.of(parts), Trace()
        hidden = body(ours)(batch, memory, trace)
        memory = hidden.state
        for index, rows in enumerate(batch.split(hidden.last)):
            out = theirs(**inputs(parts[index]), mems=mems[index], use_mems=True, output_attentions=True)
            mems[index] = out.mems
            parity("xlnet hidden after memories", rows, out.last_hidden_state[0])
            for layer, attention in enumerate(out.attentions):
                parity("xlnet attention after memories", trace.attention[layer][index], attention[0])
        for layer, rows in enumerate(memory.layers):
            for index, remembered in enumerate(rows.split(list(memory.lengths))):
                parity("xlnet memories", remembered, mems[index][layer][:, 0])


@pytest.mark.parametrize("shape", CAUSAL)
def test_memories_are_one_long_pass(shape: str, tmp_path: Path, parity: Any) -> None:
    """Where no token looks ahead, parts over memories are the whole text at once."""
    _, ours = make("bare", shape, tmp_path)
    texts = encodings((30, 17), VOCABULARY, seed=5)
    whole = list(Batch.of(texts).split(body(ours)(Batch.of(texts)).last))
    memory, done = empty(ours, 2), [[], []]
    for begin, end in ((0, 5), (5, 6), (6, 17), (17, None)):
        parts = [part(text, begin, end) for text in texts]
        batch = Batch.of(parts if begin < 17 else parts[:1])
        if begin == 17:  # the second text is over
            memory = Memory(tuple(rows[: memory.lengths[0]] for rows in memory.layers), memory.lengths[:1])
        hidden = body(ours)(batch, memory)
        memory = hidden.state
        for place, rows in enumerate(batch.split(hidden.last)):
            done[place].append(rows)
    for rows, wanted in zip(done, whole, strict=True):
        parity("xlnet memories against one long pass", torch.cat(rows), wanted, reference=ITSELF)


@pytest.mark.parametrize("shape", BI)
def test_memories_are_one_long_pass_without_a_look_ahead(shape: str, tmp_path: Path, parity: Any) -> None:
    """Where tokens look ahead, the same holds if in the long pass no part may see a later one."""
    _, ours = make("bare", shape, tmp_path)
    (text,) = encodings((31,), VOCABULARY, seed=6)
    bounds = torch.tensor([0] * 9 + [1] + [2] * 21)
    unseen = bounds[:, None] < bounds[None, :]
    whole = body(ours).permuted(Batch.of([text]), [unseen], [[]]).content
    memory, done = empty(ours, 1), []
    for begin, end in ((0, 9), (9, 10), (10, 31)):
        hidden = body(ours)(Batch.of([part(text, begin, end)]), memory)
        memory = hidden.state
        done.append(hidden.last)
    parity("xlnet memories against one long pass", torch.cat(done), whole, reference=ITSELF)


def test_a_memory_is_a_value(tmp_path: Path, parity: Any) -> None:
    """Going on does not change what one went on from."""
    _, ours = make("bare", "gelu", tmp_path)
    first, one, other = encodings((8, 9, 7), VOCABULARY, seed=7)
    early = body(ours)(Batch.of([first]), empty(ours, 1)).state
    before = [rows.clone() for rows in early.layers]
    wanted = body(ours)(Batch.of([one]), early)
    body(ours)(Batch.of([other]), early)
    assert early.lengths == (8,)
    assert wanted.state.lengths == (17,)
    assert all(torch.equal(a, b) for a, b in zip(early.layers, before, strict=True))
    parity("xlnet hidden after memories", body(ours)(Batch.of([one]), early).last, wanted.last, reference=ITSELF)


# Permutations and the second stream


def orders(lengths: Sequence[int], seed: int) -> list[Tensor]:
    """For each text a random mask, in which most tokens may not see most others, and some not themselves."""
    chance = torch.Generator().manual_seed(seed)
    masks = [torch.rand(length, length, generator=chance) < 0.5 for length in lengths]
    for mask in masks:
        mask[:, 0] = False  # the reference's padding counts where a token sees nothing
    return masks


def compare_streams(parity: Any, theirs: Any, ours: Model, texts: Sequence[Encoding], seed: int, remember: int) -> None:
    """Both streams, all layers and maps, against the reference text by text and all together, padded."""
    masks = orders([len(text) for text in texts], seed)
    chance = torch.Generator().manual_seed(seed)
    targets = [torch.randperm(len(text), generator=chance)[: 1 + len(text) // 3].tolist() for text in texts]
    memory, mems = None, [None] * len(texts)
    if remember:
        earlier = encodings([remember] * len(texts), VOCABULARY, seed=seed + 1)
        memory = body(ours)(Batch.of(earlier), empty(ours, len(texts))).state
        mems = [theirs.transformer(**inputs(text), use_mems=True).mems for text in earlier]
    trace, batch = Trace(), Batch.of(texts)
    streams = body(ours).permuted(batch, masks, targets, memory, trace)
    logits = ours.network.heads["lm"](streams.query, batch)
    at, row, layers = 0, 0, len(ours.network.body.blocks)
    for index, (text, mask, asked) in enumerate(zip(texts, masks, targets, strict=True)):
        mapping = torch.zeros(1, len(asked), len(text))
        mapping[0, range(len(asked)), asked] = 1
        more = {"perm_mask": mask[None].float(), "target_mapping": mapping, "mems": mems[index]}
        flags = {"use_mems": True, "output_hidden_states": True, "output_attentions": True}
        out = theirs(**inputs(text), **more, **flags)
        ends = at + len(asked), row + len(text)
        parity("xlnet lm of the second stream", logits[at : ends[0]], out.logits[0])
        for layer in range(layers + 1):
            content, query = trace.layers[2 * layer], trace.layers[2 * layer + 1]
            parity("xlnet content stream", content[row : ends[1]], out.hidden_states[2 * layer][0])
            parity("xlnet query stream", query[at : ends[0]], out.hidden_states[2 * layer + 1][0])
        for layer in range(layers):
            content, query = trace.attention[2 * layer][index], trace.attention[2 * layer + 1][index]
            parity("xlnet attention of both streams", content, out.attentions[layer][0][0])
            parity("xlnet attention of both streams", query, out.attentions[layer][1][0][:, asked])
        if streams.memory is not None:
            for layer, rows in enumerate(streams.memory.layers):
                remembered = rows.split(list(streams.memory.lengths))[index]
                parity("xlnet memories", remembered, out.mems[layer][:, 0])
        at, row = ends


@pytest.mark.parametrize("remember", [0, 6])
@pytest.mark.parametrize("shape", SHAPES)
def test_two_streams(shape: str, remember: int, tmp_path: Path, parity: Any) -> None:
    """Dense random masks, several targets, texts of several lengths, with memories and without."""
    theirs, ours = make("lm", shape, tmp_path)
    compare_streams(parity, theirs, ours, encodings((12, 5, 40, 12, 1), VOCABULARY, 8, pairs=True), 9, remember)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("shape", BI)
def test_two_streams_together(shape: str, side: str, tmp_path: Path, parity: Any) -> None:
    """All texts in one padded call of the reference, with masks of their own."""
    theirs, ours = make("lm", shape, tmp_path)
    texts = encodings((12, 5, 40, 12), VOCABULARY, 10, pairs=True)
    masks, width = orders([len(text) for text in texts], 11), 40
    targets = [[len(text) - 1, 0, len(text) // 2] for text in texts]
    ids, segments, seen = (torch.zeros(4, width, dtype=torch.long) for _ in range(3))
    unseen, mapping = torch.zeros(4, width, width), torch.zeros(4, 3, width)
    for index, (text, mask, asked) in enumerate(zip(texts, masks, targets, strict=True)):
        begin = 0 if side == "right" else width - len(text)
        place = slice(begin, begin + len(text))
        ids[index, place], segments[index, place] = torch.tensor(text.ids), torch.tensor(text.segments)
        seen[index, place] = 1
        unseen[index, place, place] = mask.float()
        mapping[index, range(3), [begin + target for target in asked]] = 1
    out = theirs(ids, seen.float(), None, unseen, mapping, segments, use_mems=False)
    batch = Batch.of(texts)
    streams = body(ours).permuted(batch, masks, targets)
    logits = ours.network.heads["lm"](streams.query, batch).view(4, 3, -1)
    parity("xlnet lm of the second stream", logits, out.logits)


def test_a_mask_without_targets(tmp_path: Path, parity: Any) -> None:
    """Only the content stream, under a mask; tokens that see nothing but themselves among them."""
    theirs, ours = make("bare", "gelu", tmp_path)
    (text,) = encodings((14,), VOCABULARY, 12)
    mask = torch.rand(14, 14, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[3] = True
    streams = body(ours).permuted(Batch.of([text]), [mask], [[]])
    out = theirs(**inputs(text), perm_mask=mask[None].float())
    assert streams.query.shape == (0, ours.config.d_model)
    parity("xlnet content stream", streams.content, out.last_hidden_state[0])


def test_a_target_that_sees_nothing(tmp_path: Path, parity: Any) -> None:
    """The first token of an order looks everywhere alike, itself included, as in the original."""
    theirs, ours = make("lm", "gelu", tmp_path)
    (text,) = encodings((9,), VOCABULARY, 13)
    unseen = torch.ones(9, 9).triu().bool()  # from left to right
    streams = body(ours).permuted(Batch.of([text]), [unseen], [list(range(9))])
    out = theirs(**inputs(text), perm_mask=unseen[None].float(), target_mapping=torch.eye(9)[None])
    logits = ours.network.heads["lm"](streams.query, Batch.of([text]))
    parity("xlnet lm of the second stream", logits, out.logits[0])


# Generation


@pytest.mark.parametrize("shape", SHAPES)
def test_generation(shape: str, tmp_path: Path, parity: Any) -> None:
    """Token by token: the scores that the reference's own preparation gives, and the tokens that its loop finds."""
    theirs, ours = make("lm", shape, tmp_path)
    prompt = encodings((7,), VOCABULARY, 14)[0].ids
    made = [step.token for step in generate(ours, "lm", prompt, 12, Sampling())]
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": PAD}
    found = theirs.generate(torch.tensor([prompt]), use_cache=False, use_mems=False, **options)
    assert made == found[0, len(prompt) :].tolist()
    state = ours.family.new_state(ours.config, 1, 0, next(ours.network.parameters()))
    fresh, said = list(prompt), list(prompt)
    for token in made:
        batch = Batch.continuing([fresh], state.lengths)
        hidden = ours.network.body(batch, state)
        state = hidden.state
        assert isinstance(state, Prefix)
        assert state.ids == (tuple(said),)
        prepared = theirs.prepare_inputs_for_generation(torch.tensor([said]), use_mems=False)
        parity("xlnet generation", ours.network.heads["lm"](hidden.last, batch), theirs(**prepared).logits[0])
        fresh = [token]
        said.append(token)


def test_generation_of_many(tmp_path: Path, parity: Any) -> None:
    """Several texts go on side by side, each as it does alone; a state that was gone on from can be taken up again."""
    _, ours = make("lm", "gelu", tmp_path)
    texts = [list(text.ids) for text in encodings((4, 9, 1), VOCABULARY, 15)]
    state = Prefix(((),) * 3)
    early = ours.network.body(Batch.continuing(texts, state.lengths), state)
    assert early.state.lengths == (4, 9, 1)
    ours.network.body(Batch.continuing([[3], [4], [5]], early.state.lengths), early.state)
    later = ours.network.body(Batch.continuing([[6, 7], [8], [9]], early.state.lengths), early.state)
    for index, (text, more) in enumerate(zip(texts, ([6, 7], [8], [9]), strict=True)):
        alone = ours.network.body(Batch.continuing([text + more], (0,)), Prefix(((),)))
        parity("xlnet generation side by side", later.last[index], alone.last[0], reference=ITSELF)


# The vectors that come with keras-xlnet

FIXTURES = SHARED / "fixtures/xlnet_keras_xlnet"
needs_shared = pytest.mark.skipif(not FIXTURES.is_dir(), reason="the folder shared/data is not here")


def from_tensorflow(name: str, folder: Path, **options: Any) -> Model:
    """A checkpoint in the original's format, with the tensors renamed as the reference's conversion names them."""
    source = FIXTURES / f"test_checkpoint_{name}"
    found = {key.removeprefix("model/"): t for key, t in tf_checkpoint.read(source / "xlnet_model.ckpt").items()}
    said = json.loads((source / "xlnet_config.json").read_text())
    tensors = {
        "word_embedding.weight": found["transformer/word_embedding/lookup_table"],
        "mask_emb": found.get("transformer/mask_emb/mask_emb", torch.zeros(1, 1, said["d_model"])),
    }
    if "lm_loss/bias" in found:
        tensors["lm_loss.bias"] = found["lm_loss/bias"]
    for index in range(said["n_layer"]):
        old, new = f"transformer/layer_{index}/", f"layer.{index}."
        for kind in "qkvor":
            tensors[f"{new}rel_attn.{kind}"] = found[f"{old}rel_attn/{kind}/kernel"]
        for bias in ("r_w_bias", "r_r_bias", "r_s_bias"):
            shared = found[f"transformer/{bias}"]
            tensors[f"{new}rel_attn.{bias}"] = shared[index] if said["untie_r"] else shared
        tensors[f"{new}rel_attn.seg_embed"] = found["transformer/seg_embed"][index]
        for half in ("rel_attn", "ff"):
            tensors[f"{new}{half}.layer_norm.weight"] = found[f"{old}{half}/LayerNorm/gamma"]
            tensors[f"{new}{half}.layer_norm.bias"] = found[f"{old}{half}/LayerNorm/beta"]
        for layer in ("layer_1", "layer_2"):
            tensors[f"{new}ff.{layer}.weight"] = found[f"{old}ff/{layer}/kernel"].T
            tensors[f"{new}ff.{layer}.bias"] = found[f"{old}ff/{layer}/bias"]
    save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, folder / "model.safetensors")
    said |= {"model_type": "xlnet", "ff_activation": "gelu_new", "mem_len": 5, **options}  # tanh, in the original
    (folder / "config.json").write_text(json.dumps(said))
    (folder / "spiece.model").write_bytes(spiece(STAND_IN[: said["n_token"]]))
    return load(folder)


def vector(name: str, which: str) -> Tensor:
    """One array of a fixture."""
    return torch.from_numpy(np.load(FIXTURES / f"test_checkpoint_{name}" / f"{which}.npy", allow_pickle=False))


def fixture_batch(name: str) -> Batch:
    """Two texts of five tokens."""
    ids, segments = vector(name, "input_ids").flatten(), vector(name, "seg_ids").flatten()
    return Batch(ids, segments, torch.arange(5).repeat(2), (5, 5))


@needs_shared
def test_fixture_without_memory(tmp_path: Path, parity: Any) -> None:
    """Biases shared by all layers, no token looking ahead."""
    ours = from_tensorflow("empty", tmp_path, attn_type="uni")
    rows = ours.network.body(fixture_batch("empty")).last
    parity("xlnet hidden", rows.view(2, 5, 6), vector("empty", "empty_output"), reference="keras-xlnet fixtures")


@needs_shared
def test_fixture_of_pre_training(tmp_path: Path, parity: Any) -> None:
    """Both streams from left to right after a memory. Its tune_* files belong to weights that are not there."""
    ours = from_tensorflow("pre", tmp_path)
    batch, asked = fixture_batch("pre"), vector("pre", "input_query").bool()
    memory = Memory(tuple(vector("pre", f"mems_{i}").float().flatten(0, 1) for i in range(2)), (5, 5))
    unseen = torch.ones(5, 5).triu().bool()
    targets = [row.nonzero()[:, 0].tolist() for row in asked]
    streams = body(ours).permuted(batch, [unseen, unseen], targets, memory)
    chances = ours.network.heads["lm"](streams.query, batch).log_softmax(-1)
    wanted = vector("pre", "pre_output").log()[asked]
    parity("xlnet lm of the second stream", chances, wanted, reference="keras-xlnet fixtures")
    for layer, rows in enumerate(streams.memory.layers):
        wanted = vector("pre", f"pre_new_mems_{layer}")
        parity("xlnet memories", rows.view(2, 5, 6), wanted, reference="keras-xlnet fixtures")
    assert not torch.equal(streams.memory.layers[0].view(2, 5, 6), vector("pre", "tune_new_mems_0"))
