"""ELMo as it is trained here: the batched forward, the sampled softmax, readers on frozen layers, and both recipes."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zoo
from tasks import classify, nli, qa, summarize
from tests import nets, tiny_data
from zoo import generation
from zoo.contracts import Batch, Encoding
from zoo.engine import Engine
from zoo.errors import BadCheckpoint, BadParameter
from zoo.family import Network
from zoo.layers.projected_lstm import ProjectedLstm
from zoo.models import elmo
from zoo.models.elmo_readers import ReaderConfig, Sentences, matches, numbered, read_readers
from zoo.sampling import Sampling
from zoo.tokenizers.chars import BEGIN, END, UNKNOWN, CharacterRows, CharacterTokenizer
from zoo.training import elmo_lm, elmo_mini, elmo_words, finetune, loop
from zoo.training.elmo_lm import Reader, Sampler, Windows
from zoo.training.recipes import Run
from zoo.weights.keymap import LoadReport

WORDS = (BEGIN, END, UNKNOWN, "the", "cat", "sat", "on", "a", "mat", ".", "Who", "?", "incomprehensibilities", "dog")
TEXTS = ("the cat sat on a mat .", "Who ?", "the incomprehensibilities sat on the dog . the cat sat", "a")
SMALL = replace(elmo_lm.SMALL, vocab_size=len(WORDS))
READERS = {name: replace(reader, size=6) for name, reader in elmo_mini.READERS.items()}
TOKENIZER = CharacterTokenizer(CharacterRows(50), WORDS, generates=True)


def network(config: elmo.ElmoConfig = SMALL, seed: int = 0) -> Network:
    """A network of the mini recipe, tiny, with every head, clips that bite, and norms that have seen something."""
    torch.manual_seed(seed)
    made = elmo.build(replace(config, readers=READERS, cell_clip=0.4, proj_clip=0.3), elmo_mini.HEADS).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.4)
    for name, buffer in made.named_buffers():
        nn.init.uniform_(buffer, 0.5, 1.5) if "var" in name else nn.init.normal_(buffer, std=0.1)
    return made


def reader_of(made: Network, rows: int) -> Reader:
    """The same network as it is trained."""
    table = np.array([CharacterRows(50)(word) for word in WORDS], dtype=np.uint16)
    return Reader(made.body, made.heads["lm"].out, rows, table).eval()


def numbers(text: str) -> list[int]:
    return [WORDS.index(word) for word in (BEGIN, *text.split(), END)]


def encoded(text: str, second: str | None = None) -> Encoding:
    return TOKENIZER.assemble(TOKENIZER.pieces(text), None if second is None else TOKENIZER.pieces(second))


def test_training_computes_what_the_body_of_the_zoo_does() -> None:
    """Texts one after the other in a stream, in windows, both ways; the body reads each text by itself."""
    made = network()
    streams = [[n for text in (*TEXTS[turn:], *TEXTS[:turn]) for n in numbers(text)] for turn in range(3)]
    reader = reader_of(made, rows=3)
    ahead = torch.tensor(streams).t()  # [T, B]
    back = ahead.flip(0)
    window = 5
    tops = torch.cat(
        [reader(ahead[i : i + window], back[i : i + window]) for i in range(0, len(ahead), window)], dim=1
    )  # [2, T, B, D]
    for row in range(3):
        texts = (*TEXTS[row:], *TEXTS[:row])
        whole = torch.cat([made.body(Batch.of([encoded(text)])).last[:, -1] for text in texts])  # [T, 2D]
        first, second = whole.chunk(2, dim=1)
        torch.testing.assert_close(tops[0, :, row], first, rtol=0, atol=1e-6)
        torch.testing.assert_close(tops[1, :, row].flip(0), second, rtol=0, atol=1e-6)
    assert (tops.abs() >= 0.3).any(), "nothing was clipped"


def test_the_written_out_derivatives_are_those_of_autograd() -> None:
    torch.manual_seed(0)
    layer = ProjectedLstm(5, 7, cell_clip=0.5, proj_clip=0.4).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.6)
    x = torch.randn(6, 3, 5, dtype=torch.double, requires_grad=True)
    keep = (torch.rand(6, 3, 1) > 0.3).double()
    hidden, memory = torch.randn(3, 5).double(), torch.randn(3, 7).double()
    weights = torch.randn(6, 3, 5).double()

    def step_by_step() -> Tensor:
        h, c, made = hidden, memory, []
        for t in range(len(x)):
            out, h, c = layer(x[t], [3], h * keep[t], c * keep[t])
            made.append(out)
        return torch.stack(made)

    grads = []
    for run in (lambda: layer.together(x, keep, hidden, memory)[0], step_by_step):
        out = run()
        grads.append([out, *torch.autograd.grad((out * weights).sum(), [x, *layer.parameters()])])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_the_sampled_softmax_is_the_full_one_when_all_words_are_scored() -> None:
    torch.manual_seed(0)
    out, tops, targets = nn.Linear(6, 40), torch.randn(9, 6), torch.randint(40, (9,))
    sure = torch.zeros(40)
    order = torch.randperm(40)
    sampled = elmo_lm.sampled_loss(tops, targets, out, order, sure)
    torch.testing.assert_close(sampled, F.cross_entropy(out(tops), targets))


def test_samples_stand_for_the_words_that_were_left_out() -> None:
    """The corrected sum over what was scored is, in expectation, the sum over all words."""
    counts = np.array([2000 // (rank + 1) for rank in range(60)])
    sampler = Sampler(counts, samples=12, seed=0)
    chance = np.random.default_rng(0)
    scores = torch.randn(60, generator=torch.Generator().manual_seed(0))
    sums = []
    for step in range(3000):
        targets = torch.from_numpy(chance.choice(60, size=10, p=counts / counts.sum()))
        scored, log_chance = sampler(step, targets)
        assert set(targets.tolist()) <= set(scored.tolist()) and (log_chance <= 0).all()
        sums.append(float((scores[scored] - log_chance).exp().sum()))
    assert math.isclose(np.mean(sums), float(scores.exp().sum()), rel_tol=0.02)
    assert torch.equal(sampler(7, targets)[0], sampler(7, targets)[0])


def test_both_directions_read_all_of_a_row_and_guess_nothing_across_texts() -> None:
    stream = np.array([0, 5, 6, 1, 0, 7, 8, 1, 0, 9, 10, 1, 0, 3, 1, 0, 4], dtype=np.uint32)
    windows = Windows.of(stream, rows=1, window=4)
    assert len(windows) == 4
    read = [windows[index] for index in range(4)]
    assert [n for ahead, _ in read for n in ahead[:-1, 0].tolist()] == stream[:16].tolist()
    assert [n for _, back in read for n in back[:-1, 0].tolist()] == stream[:0:-1].tolist()
    ahead, back = read[1]
    chosen, targets = elmo_lm.targets_of(ahead, back, vocabulary=9)
    assert ahead[:, 0].tolist() == [0, 7, 8, 1, 0] and chosen[0, :, 0].tolist() == [True, True, True, False]
    assert back[:, 0].tolist() == [0, 1, 10, 9, 0] and chosen[1, :, 0].tolist() == [False, True, True, True]
    assert targets.tolist() == [7, 8, 1, 2, 2, 0]  # 9 and 10 are not in the vocabulary


@pytest.mark.parametrize("head", elmo_mini.READERS)
def test_company_and_padding_change_nothing(head: str) -> None:
    made = network()
    pair = head in ("nli", "qa")
    texts = [encoded(text, other if pair else None) for text, other in zip(TEXTS, TEXTS[::-1], strict=True)]
    together = Batch.of(texts)
    scores = made(together, head)
    parts = list(together.split(scores)) if head == "qa" else list(scores)
    for text, part in zip(texts, parts, strict=True):
        alone = made(Batch.of([text]), head)
        torch.testing.assert_close(part, alone if head == "qa" else alone[0], rtol=0, atol=1e-6)
    assert len({round(float(part.detach()[-2 if head == "qa" else 0].flatten()[0]), 4) for part in parts}) > 1


def test_a_span_lies_in_the_passage() -> None:
    made = network()
    text = TOKENIZER.question(TOKENIZER.pieces("Who sat ?"), TOKENIZER.pieces("the cat sat ."))
    scores = made(Batch.of([text]), "qa")
    assert torch.isfinite(scores).all(1).tolist() == [source == 1 for source in text.sources]
    loss = finetune.loss_from(scores, Batch.of([text]), [finetune.Example(text, (6, 7))])
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in made.heads["qa"].parameters())


@pytest.mark.parametrize("head", elmo_mini.READERS)
def test_texts_without_words_have_scores(head: str) -> None:
    """A pair of which one side is empty, and a single text where a pair is expected."""
    made = network()
    for encoding in (encoded("", ""), encoded("", "the cat"), encoded("the cat", ""), encoded("")):
        scores = made(Batch.of([encoding]), head)
        assert not scores.isnan().any()


def test_words_of_the_other_text_are_found() -> None:
    batch = Batch.of([encoded("The cats sat", "the incomprehensible cat Sat the incomprehensibly")])
    first, second = Sentences.of(batch, 0), Sentences.of(batch, 1)
    one, other = matches(batch.ids, first, second)
    assert one[0, 1:-1].tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 1]]
    assert other[0, 1:-1].tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 0], [0, 1, 1], [0, 1, 1], [0, 0, 0]]
    rows = torch.tensor([CharacterRows(50)(word) for word in ("cat", "mat", "cat")])
    same = numbered(rows)
    assert same[0] == same[2] != same[1]


def test_nothing_below_the_readers_is_trained() -> None:
    model = network()
    made = elmo_mini.network_from(model, replace(SMALL, readers=READERS)).train()
    rows = made.body(Batch.of([encoded("the cat sat")])).last
    assert not rows.requires_grad
    assert made(Batch.of([encoded("the cat sat")]), "topic").requires_grad


def test_a_reader_that_is_not_known_is_refused() -> None:
    good = asdict(replace(SMALL, readers=READERS))
    assert elmo.read_config(good, LoadReport()).readers == READERS
    assert elmo.read_config(asdict(SMALL), LoadReport()).readers is None
    for bad in (
        {"kind": "oracle", "size": 6, "dropout": 0.1},
        {"kind": "esim", "size": 0, "dropout": 0.1},
        {"kind": "esim", "size": 6, "dropout": 1.0},
        {"kind": "esim", "size": 6},
        "esim",
    ):
        with pytest.raises(BadCheckpoint, match="readers"):
            elmo.read_config({**good, "readers": {"nli": bad}}, LoadReport())
    with pytest.raises(BadCheckpoint, match="readers"):
        elmo.read_config({**good, "readers": ["esim"]}, LoadReport())
    with pytest.raises(BadCheckpoint, match="spans is a span head"):
        config = replace(SMALL, readers={"topic": ReaderConfig("spans", 6, 0.1)})
        elmo.build(config, {"topic": elmo_mini.HEADS["topic"]})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.write(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both recipes at toy size; the folder of their runs."""
    folder = tmp_path_factory.mktemp("runs")
    elmo_lm.pretrain(Run(data, folder / "lm", tiny=True))
    elmo_mini.train(Run(data, folder / "mini", start=folder / "lm/checkpoint", tiny=True))
    return folder


def test_the_corpus_is_cut_as_the_tokenizer_cuts(data: Path, made: Path) -> None:
    config = elmo_lm.SMALL
    corpus = elmo_words.read(data, made / "lm", elmo_lm.TINY.amounts, config.vocab_size, 50, seed=0)
    words = elmo_words.listed(made / "lm")
    row = CharacterRows(50)
    assert corpus.words == tuple(words[: config.vocab_size]) and corpus.words[:3] == (BEGIN, END, UNKNOWN)
    assert [tuple(r) for r in corpus.table[[0, 1, 5]].tolist()] == [row(words[n]) for n in (0, 1, 5)]
    frequent = corpus.counts[3:]
    assert (frequent[:-1] >= frequent[1:]).all() and corpus.counts.sum() == sum(
        len(stream) for stream in (corpus.plain, corpus.mixed, corpus.held)
    )
    summarized = " ".join(words[n] for n in corpus.mixed)
    assert "TL;DR : " in summarized or "TL ; DR : " in summarized
    assert "TL" not in " ".join(words[n] for n in corpus.plain)
    lead = tiny_data.NAMES
    assert any(f"DR : {name} was a" in summarized for name in lead)


def test_what_training_leaves_is_what_the_zoo_loads(made: Path) -> None:
    """The held-out loss of the checkpoint, by the zoo's own body and log_probabilities, is that of the training."""
    model = zoo.load(str(made / "lm/checkpoint-float32"))
    texts = ["Anna lives in Paris beside the old house .", "The garden of Rome is known to Ben ."]
    words = list(model.tokenizer._words)
    table = np.array([CharacterRows(50)(word) for word in words], dtype=np.uint16)
    reader = Reader(model.network.body, model.network.heads["lm"].out, 1, table).eval()
    for text in texts:
        ids = [words.index(word) for word in (BEGIN, *text.split(), END)]
        ahead = torch.tensor(ids)[:, None]
        reader.forget()
        tops = reader(ahead[:-1], ahead.flip(0)[:-1])  # [2, T, 1, D]
        scores = reader.softmax(tops[:, :, 0]).log_softmax(-1)
        forward, backward = elmo.log_probabilities(model, text)
        torch.testing.assert_close(scores[0].gather(1, ahead[1:])[:, 0], forward, rtol=0, atol=1e-5)
        torch.testing.assert_close(scores[1].flip(0).gather(1, ahead[:-1])[:, 0], backward, rtol=0, atol=1e-5)


def test_the_unknown_word_is_never_written(made: Path) -> None:
    model = zoo.load(str(made / "lm/checkpoint"))
    head = model.network.heads["lm"]
    with torch.inference_mode():
        for mark in (BEGIN, UNKNOWN):
            head.out.bias[model.tokenizer.index[mark]] = 100.0
    ids = model.tokenizer.prompt(model.tokenizer.pieces("Anna lives in")).ids
    for sampling in (Sampling(), Sampling(temperature=1.0, seed=1)):
        said = [step.token for step in generation.generate(model, "lm", ids, 8, sampling)]
        assert said and not {model.tokenizer.index[mark] for mark in (BEGIN, UNKNOWN)} & set(said)


def test_one_checkpoint_answers_every_task(made: Path) -> None:
    engine, folder = Engine(), str(made / "mini/checkpoint")
    assert set(zoo.load(folder).heads) == {"lm", "nli", "qa", "topic", "sentiment"}
    assert nli.run(engine, folder, "A sailor is in a house .", "Nobody is in the house .", head="nli").verdict
    for head in ("topic", "sentiment"):
        assert classify.run(engine, folder, "a dull film about a sailor .", head=head).verdict
    found = qa.run(engine, folder, "Where does Anna live?", "Anna lives in Rome. Ben lives in Oslo.", head="qa")
    assert found.answer and found.scores[0].score == 0, "there is no score for no answer"
    long = "Anna lives in Rome. " * 120 + "Ben lives in Oslo."
    assert qa.run(engine, folder, "Where does Ben live?", long, head="qa").answer
    assert summarize.run(engine, folder, "Anna lives in Rome beside the old house.", max_new_tokens=5).verdict


def test_readers_need_a_language_model(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match="elmo-lm"):
        elmo_mini.train(Run(data, tmp_path, tiny=True))


def test_a_run_that_was_cut_off_ends_with_the_same_weights(
    data: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the second of the two streams, when both directions carry a state."""
    whole = loop.set_rates

    def killed(optimizers: object, rates: object, plan: loop.Plan, step: int) -> float:
        if step == 55:
            raise KeyboardInterrupt
        return whole(optimizers, rates, plan, step)  # type: ignore[arg-type]

    clock = iter(range(0, 10**9, 20))
    with monkeypatch.context() as patch:
        patch.setattr(loop, "set_rates", killed)
        patch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
        with pytest.raises(KeyboardInterrupt):
            elmo_lm.pretrain(Run(data, tmp_path, tiny=True))
    elmo_lm.pretrain(Run(data, tmp_path, tiny=True, resume=True))
    ours, theirs = (zoo.load(str(folder / "checkpoint-float32")) for folder in (tmp_path, made / "lm"))
    assert ours.revision == theirs.revision
    for name, tensor in ours.network.state_dict().items():
        assert torch.equal(tensor, theirs.network.state_dict()[name]), name


@pytest.mark.parametrize(
    "changed", [{"own": 4}, {"own": 4, "buckets": 10**9}, {"own": -1}, {"size": 0}, {"kind": "chess"}, {"dropout": 1.0}]
)
def test_a_reader_that_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    raw = {"kind": "pooled", "size": 8, "dropout": 0.1} | changed
    with pytest.raises(BadCheckpoint, match="own words are up to 4096 wide, with 1 to 1,000,000 buckets"):
        read_readers({"topic": raw}, LoadReport())
    assert read_readers({"topic": {"kind": "pooled", "size": 8, "dropout": 0.1}}, LoadReport())["topic"].own == 0


def test_a_word_has_its_own_vector_whatever_its_case_and_company() -> None:
    model = nets.elmo_model()
    reader = model.network.heads["nli"]
    seen: list[torch.Tensor] = []
    assert reader.own_words is not None
    handle = reader.own_words.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    pieces = model.tokenizer.pieces("The cat sat on the mat")
    model.network(Batch.of([model.tokenizer.assemble(pieces, model.tokenizer.pieces("the dog"))]), "nli")
    model.network(Batch.of([model.tokenizer.assemble(model.tokenizer.pieces("MAT"), pieces)]), "nli")
    handle.remove()
    first, second = (one.tolist() for one in seen)
    assert first[1] == first[5] == first[9] and len(set(first[1:7])) == 5
    assert second[1] == first[6] and second[4:10] == first[1:7]
