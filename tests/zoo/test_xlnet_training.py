"""XLNet as it is trained here: orders, both streams computed together, the order from left to right, the vocabulary,
and both recipes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import zoo
from tasks import classify, nli, qa, summarize
from tests import tiny_data
from tests.zoo.stopping import Killed, same_weights
from zoo.contracts import Batch
from zoo.engine import Engine
from zoo.errors import BadParameter
from zoo.family import Model, Network
from zoo.generation import generate
from zoo.models import xlnet
from zoo.models.xlnet import Xlnet, left_to_right
from zoo.sampling import Sampling
from zoo.tokenizers import sentencepiece
from zoo.training import lessons, loop, xlnet_lm, xlnet_mini, xlnet_orders
from zoo.training.muon import Muon
from zoo.training.recipes import Run
from zoo.weights.keymap import LoadReport
from zoo.weights.layout import Opened

CONFIG = replace(xlnet_lm.TINY.config, vocab_size=50, clamp_len=6)
CHANCE = np.random.default_rng(1)
BEGINS = np.arange(50) % 3 != 0


def network(config: xlnet.XlnetConfig = CONFIG, seed: int = 0) -> Network:
    """A tiny network whose parameters are large enough that every part counts."""
    torch.manual_seed(seed)
    made = xlnet.build(config, xlnet_lm.HEADS)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def body(made: Network) -> Xlnet:
    assert isinstance(made.body, Xlnet)
    return made.body


def batch_of(ids: Tensor, segments: Tensor | None = None) -> Batch:
    zeros = torch.zeros_like(ids).flatten()
    return Batch(ids.flatten(), zeros if segments is None else segments.flatten(), zeros, (ids.shape[1],) * len(ids))


def some_ids(texts: int, length: int, seed: int = 2) -> Tensor:
    return torch.randint(0, 50, (texts, length), generator=torch.Generator().manual_seed(seed))


# Orders


@pytest.mark.parametrize(("length", "one_of"), [(64, 6), (64, 3), (30, 2), (7, 7), (128, 5)])
def test_one_token_of_so_many_is_a_target_and_each_once(length: int, one_of: int) -> None:
    ids = some_ids(9, length).numpy()
    order = xlnet_orders.spans(ids, BEGINS, one_of, np.random.default_rng(3))
    assert order.targets is not None and order.targets.shape == (9, length // one_of)
    assert bool((order.targets.diff(dim=1) > 0).all())
    again = xlnet_orders.spans(ids, BEGINS, one_of, np.random.default_rng(3))
    assert torch.equal(order.unseen, again.unseen)


def test_targets_follow_each_other_in_random_order_after_all_context() -> None:
    order = xlnet_orders.spans(some_ids(6, 40).numpy(), BEGINS, 4, np.random.default_rng(4))
    assert order.targets is not None
    shuffled = False
    for unseen, targets in zip(order.unseen, order.targets.tolist(), strict=True):
        context = [t for t in range(40) if t not in targets]
        assert not bool(unseen[:, context].any()), "context is seen by all"
        assert bool(unseen[context][:, targets].all()), "context sees no target"
        among = unseen[targets][:, targets]  # [Q, Q]
        assert sorted((~among).sum(1).tolist()) == list(range(10)), "the nth target sees those before it"
        assert not bool((~among & ~among.t()).any())
        shuffled |= (~among).sum(1).tolist() != list(range(10))
    assert shuffled


def test_spans_are_whole_words_where_there_is_room() -> None:
    """Every other token goes on with a word: what is masked is then nearly always two tokens or more."""
    begins = np.arange(50) % 2 == 0
    ids = np.tile(np.arange(50), (20, 4))
    order = xlnet_orders.spans(ids, begins, 6, np.random.default_rng(5))
    assert order.targets is not None
    whole = total = 0
    for targets in map(set, order.targets.tolist()):
        whole += sum(t ^ 1 in targets for t in targets)
        total += len(targets)
    assert whole / total > 0.8


# Both streams together


@pytest.mark.parametrize("segments", [1, 2])
@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, clamp_len=-1, d_head=9), replace(CONFIG, attn_type="uni")])
def test_together_is_the_same_as_text_by_text(config: xlnet.XlnetConfig, segments: int) -> None:
    made, ids = network(config), some_ids(5, 24)
    batch = batch_of(ids, torch.arange(24).expand(5, -1) // 13 if segments == 2 else None)
    order = xlnet_orders.spans(ids.numpy(), BEGINS, 4, CHANCE)
    assert order.targets is not None
    together = body(made).guesses(batch, order.unseen, order.targets)
    apart = body(made).permuted(batch, list(order.unseen), order.targets.tolist()).query
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)
    ahead = xlnet.ahead(24, ids.device)
    together = body(made).guesses(batch, ahead, None)
    apart = body(made).permuted(batch, [ahead[0]] * 5, [list(range(24))] * 5).query
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def test_gradients_together_are_those_text_by_text() -> None:
    ids = some_ids(4, 20)
    order = xlnet_orders.spans(ids.numpy(), BEGINS, 4, CHANCE)
    assert order.targets is not None
    found = []
    for run in (
        lambda b: b.guesses(batch_of(ids), order.unseen, order.targets),
        lambda b: b.permuted(batch_of(ids), list(order.unseen), order.targets.tolist()).query,  # type: ignore[union-attr]
    ):
        made = network()
        run(body(made)).square().sum().backward()
        found.append({name: p.grad for name, p in made.body.named_parameters()})
    for name, gradient in found[0].items():
        other = found[1][name]
        assert (gradient is None) == (other is None), name
        if gradient is not None:
            torch.testing.assert_close(gradient, other, atol=1e-3, rtol=1e-4, msg=name)


def test_a_query_row_knows_neither_its_own_token_nor_what_comes_after_it_in_the_order() -> None:
    made, ids = network(), some_ids(1, 24)
    order = xlnet_orders.spans(ids.numpy(), BEGINS, 4, CHANCE)
    assert order.targets is not None
    targets = order.targets[0].tolist()
    before = body(made).guesses(batch_of(ids), order.unseen, order.targets)
    content = body(made).permuted(batch_of(ids), list(order.unseen), [targets]).content
    for changed in range(24):
        other = ids.clone()
        other[0, changed] = (other[0, changed] + 1) % 50
        after = body(made).guesses(batch_of(other), order.unseen, order.targets)
        for row, target in enumerate(targets):
            same = torch.equal(before[row], after[row])
            assert same == bool(order.unseen[0, target, changed]), (changed, target)
        streams = body(made).permuted(batch_of(other), list(order.unseen), [targets])
        assert not torch.equal(content[changed], streams.content[changed]), "content sees itself"


# From left to right


def model_of(made: Network, config: xlnet.XlnetConfig, tmp_path: Path) -> Model:
    """A network and a small vocabulary as a checkpoint in memory."""
    tmp_path.mkdir(exist_ok=True)
    pipeline = sentencepiece.train(["a man and a cat sat on a mat and saw the man"] * 3, xlnet.SPECIALS, 40)
    pipeline.save(str(tmp_path / "tokenizer.json"))
    tokenizer = xlnet.read_tokenizer(Opened(tmp_path), config)
    return Model("tiny", xlnet.FAMILY, config, made, tokenizer, xlnet_lm.HEADS, "", "", LoadReport())


def test_left_to_right_is_what_generation_says_step_by_step(tmp_path: Path) -> None:
    model = model_of(network(), CONFIG, tmp_path)
    assert model.tokenizer.end is not None
    steps = list(generate(model, "lm", [model.tokenizer.end], 20, Sampling(temperature=1.0, seed=3)))
    with torch.inference_mode():
        found = left_to_right(model, [step.token for step in steps])
    torch.testing.assert_close(found, torch.tensor([s.log_probability for s in steps]), atol=1e-4, rtol=1e-4)


def test_a_token_does_not_change_the_probabilities_of_those_before_it(tmp_path: Path) -> None:
    model, ids = model_of(network(), CONFIG, tmp_path), some_ids(1, 15)[0].tolist()
    before = left_to_right(model, ids)
    for changed in range(15):
        other = [*ids[:changed], (ids[changed] + 1) % 50, *ids[changed + 1 :]]
        after = left_to_right(model, other)
        assert torch.equal(before[:changed], after[:changed])
        assert not bool(torch.isclose(before[changed:], after[changed:], atol=1e-7).all())


def test_probabilities_add_up_to_one(tmp_path: Path) -> None:
    model, ids = model_of(network(), CONFIG, tmp_path), some_ids(1, 6)[0].tolist()
    with torch.inference_mode():
        last = [float(left_to_right(model, [*ids[:-1], token])[-1].exp()) for token in range(50)]
    assert sum(last) == pytest.approx(1, abs=1e-4)


def test_going_on_from_left_to_right_is_one_pass_whatever_the_parts() -> None:
    made, ids = network(), some_ids(2, 17).tolist()
    wanted = body(made)(Batch.continuing(ids, (0, 0)), xlnet.new_state(CONFIG, 2, 17, body(made).masked)).last
    state = xlnet.new_state(CONFIG, 2, 17, body(made).masked)
    for begin, end in ((0, 5), (5, 6), (6, 17)):
        hidden = body(made)(Batch.continuing([text[begin:end] for text in ids], state.lengths), state)
        assert isinstance(hidden.state, xlnet.Onward)
        state = hidden.state
    assert state.lengths == (17, 17)
    torch.testing.assert_close(hidden.last, wanted, atol=1e-5, rtol=1e-5)


def test_published_checkpoints_go_on_as_they_did(tmp_path: Path) -> None:
    state = xlnet.new_state(replace(CONFIG, continue_type="bi"), 1, 0, torch.zeros(1))
    assert isinstance(state, xlnet.Prefix)


# The vocabulary


def test_a_trained_vocabulary_joins_no_letters_with_marks_or_digits(tmp_path: Path) -> None:
    texts = ['The 12 cats, 345 dogs. "No" (said 12b) don\'t. Rue é Ω' for _ in range(50)]
    pipeline = sentencepiece.train(texts, xlnet.SPECIALS, 80)
    pipeline.save(str(tmp_path / "tokenizer.json"))
    tokenizer = xlnet.read_tokenizer(Opened(tmp_path), CONFIG)
    assert [tokenizer.token(i) for i in range(9)] == list(xlnet.SPECIALS)
    for index in range(9, tokenizer.vocabulary):
        piece = tokenizer.token(index).removeprefix("▁")
        assert len(piece) < 2 or piece.isalpha() or piece.isdigit(), piece
    said = "The dogs, 12 cats."
    pieces = tokenizer.pieces(said)
    assert tokenizer.decode(pieces.ids) == said
    assert [said[a:b] for a, b in pieces.offsets if said[a:b] in ",."] == [",", "."]
    assert 0 not in pieces.ids
    assert tokenizer.end == xlnet.SPECIALS.index("<eod>")
    assert tokenizer.assemble(pieces).ids[-2:] == (4, 3)  # <sep> <cls>


def test_rare_characters_get_no_piece() -> None:
    pipeline = sentencepiece.train(["a common text with one rare sign " * 400 + "漢"], xlnet.SPECIALS, 60)
    assert pipeline.token_to_id("漢") is None and pipeline.token_to_id("a") is not None


# Optimizers


def test_muon_gets_the_maps_of_the_blocks_and_every_parameter_is_in_one_group() -> None:
    made = network()
    adam, muon = xlnet_lm.optimizers_for(made)
    assert isinstance(muon, Muon)
    held = [id(p) for optimizer in (adam, muon) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in made.parameters())
    layers = len(made.body.get_submodule("blocks"))  # type: ignore[arg-type]
    assert len(muon.param_groups[0]["params"]) == layers * 7  # query, key, value, place, out, up, down


def test_rates_fall_from_layer_to_layer() -> None:
    made = xlnet.build(CONFIG, xlnet_mini.HEADS)
    (adam,) = xlnet_mini.optimizers_for(made, xlnet_mini.WHOLE)
    rate = {id(p): group["lr"] for group in adam.param_groups for p in group["params"]}
    assert sorted(rate) == sorted(id(p) for p in made.parameters())
    heads, top, low, words = (
        rate[id(made.get_parameter(name))]
        for name in (
            "heads.qa.out.weight",
            "body.blocks.1.feed_forward.up.weight",
            "body.blocks.0.attention.key.weight",
            "body.word.weight",
        )
    )
    assert heads > top > low > words == pytest.approx(top * xlnet_mini.LAYER_DECAY**2)


# Recipes


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.write(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def pretrained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lm")
    xlnet_lm.pretrain(Run(data, out, tiny=True))
    return out


@pytest.fixture(scope="module")
def tuned(data: Path, pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mini")
    xlnet_mini.train(Run(data, out, tiny=True, start=pretrained / "checkpoint"))
    return out


def stopped_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], None]:
    """Make the loop stop as if killed once a snapshot of that step is on disk; returns what undoes it."""
    saved = loop.save

    def save(path: Path, network: Network, optimizers: object, done: loop.Progress, *more: object) -> None:
        saved(path, network, optimizers, done, *more)  # type: ignore[arg-type]
        if done.step >= step:
            raise Killed

    monkeypatch.setattr(loop, "save", save)
    monkeypatch.setattr(loop.Plan, "snapshot_seconds", 0.0)
    return monkeypatch.undo


def losses(out: Path, kind: str) -> list[float]:
    rows = [line.split(",") for line in (out / "log.csv").read_text().splitlines()[1:]]
    return [float(row[4]) for row in rows if row[3] == kind]


def test_pretraining_learns_and_its_checkpoint_goes_on_with_a_text(pretrained: Path) -> None:
    assert losses(pretrained, "onward")[0] > 4.5 > 4.0 > losses(pretrained, "text onward held-out loss")[-1]
    assert losses(pretrained, "text spans held-out loss")[-1] < 4.0
    model = zoo.load(pretrained / "checkpoint-float32")
    assert model.config.continue_type == "uni"
    ids = list(model.tokenizer.pieces("Anna lives in Paris beside the old house.").ids)
    assert float(-left_to_right(model, ids).mean()) < 5


@pytest.mark.parametrize("recipe", ["lm", "mini"])
def test_a_killed_run_goes_on_to_the_same_weights(
    recipe: str, data: Path, pretrained: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = xlnet_lm.pretrain if recipe == "lm" else xlnet_mini.train
    run = Run(data, tmp_path, tiny=True, start=pretrained / "checkpoint" if recipe == "mini" else None)
    if recipe == "lm":  # the library does not make the same vocabulary twice
        shutil.copy(pretrained / "tokenizer.json", tmp_path)
    undo = stopped_at(monkeypatch, 23)
    with pytest.raises(Killed):
        train(run)
    undo()
    train(replace(run, resume=True))
    same_weights(tmp_path, pretrained if recipe == "lm" else tuned)


def test_the_fine_tuned_checkpoint_answers_every_task(tuned: Path) -> None:
    engine, name = Engine(), str(tuned / "checkpoint")
    text = "Anna lives in Paris beside the old house. " * 4
    assert summarize.run(engine, name, text, max_new_tokens=8).tokens
    assert qa.run(engine, name, "Where does Anna live?", text).model == name
    found = nli.run(engine, name, "A man sleeps.", "He is awake.", head="nli")
    assert {score.label for score in found.scores} == set(lessons.NLI)
    for head, labels in (("topic", lessons.TOPICS), ("sentiment", lessons.SENTIMENTS)):
        found = classify.run(engine, name, text, head=head)
        assert {score.label for score in found.scores} == set(labels)


def test_fine_tuning_learns_and_keeps_the_language_model(pretrained: Path, tuned: Path) -> None:
    kept = losses(tuned, "text held-out loss")[-1]
    assert kept < losses(pretrained, "tldr onward held-out loss")[-1] + 0.3
    assert losses(tuned, "qa")[-1] < losses(tuned, "qa")[0]


def test_fine_tuning_asks_for_a_checkpoint(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match="--from"):
        xlnet_mini.train(Run(data, tmp_path))


def test_the_tokens_of_tasks_start_from_ones_that_were_learnt(
    data: Path, pretrained: Path, tuned: Path, tmp_path: Path
) -> None:
    """Only where the tasks are new: a run that goes on with its own checkpoint keeps what it has."""
    for start, new in ((pretrained, True), (tuned, False)):
        run = Run(data, tmp_path, tiny=True, start=start / "checkpoint-float32")
        tokenizer, config, network = xlnet_mini.begin(run, xlnet_mini.TINY)
        body = zoo.load(start / "checkpoint-float32").network.body
        ids = {tokenizer.token(index): index for index in range(tokenizer.vocabulary)}
        begun, before = network.get_parameter("body.word.weight"), body.get_parameter("word.weight")
        assert torch.equal(begun[ids["<cls>"]], body.get_parameter("masked") if new else before[ids["<cls>"]])
        assert torch.equal(begun[ids["<sep>"]], before[ids["<eod>" if new else "<sep>"]])
        assert torch.equal(begun[10:], before[10:]) and config.reader == xlnet_mini.TINY.reader


def test_a_reader_of_another_width_is_begun_anew(data: Path, tuned: Path, tmp_path: Path) -> None:
    run = Run(data, tmp_path, tiny=True, start=tuned / "checkpoint-float32")
    wider = xlnet_mini.begin(run, replace(xlnet_mini.TINY, reader=24)).network
    before = zoo.load(tuned / "checkpoint-float32").network
    assert wider.get_parameter("heads.qa.out.weight").shape[1] == 4 * 24
    assert torch.equal(wider.get_parameter("heads.lm.bias"), before.get_parameter("heads.lm.bias"))
