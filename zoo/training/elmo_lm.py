"""elmo-lm: ELMo's language model from scratch (Peters et al. 2018, section 3.1; original bilm-tf bilm/training.py).

The body is computed here over rows of equal length, both directions of a layer after each other; the checkpoint is
the zoo's own. Each direction reads the stream in its own order, the backward one from its end, so that both carry
their state on. T steps, B rows, D width, C cells, M places with a target, S words that are scored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contracts import HeadSpec
from zoo.layers.projected_lstm import ProjectedLstm
from zoo.models import elmo
from zoo.models.elmo import BothWays, Elmo, ElmoConfig
from zoo.tokenizers.chars import IDS, CharacterRows, CharacterTokenizer
from zoo.training import elmo_words, export, loop
from zoo.training.muon import Muon
from zoo.training.recipes import Run

HEADS = {"lm": HeadSpec("lm"), "features": HeadSpec("features")}
EVALUATIONS = 20
DROPOUT = 0.0  # the paper's 0.1 is for ten epochs; in one, it only costs (0.04 nats after 80,000 words)
MUON_RATE = 0.02
BEGIN, END, UNKNOWN = 0, 1, 2  # in the table and the vocabulary
PLAIN_SHARE = 0.8  # of the steps, before summaries are mixed in


@dataclass(frozen=True)
class Size:
    """What a run is made of."""

    config: ElmoConfig
    amounts: elmo_words.Amounts
    rows: int  # B
    window: int  # T
    steps: int
    samples: int  # words scored beside the targets of the batch
    rate: float


CONFIG = ElmoConfig(
    n_characters=IDS,
    max_characters_per_token=50,
    char_dim=16,
    filters=[[1, 32], [2, 32], [3, 64], [4, 128], [5, 128]],
    activation="relu",
    dim=512,
    projection_dim=128,
    use_skip_connections=True,
    n_layers=2,
    n_highway=1,
    cell_clip=3,
    proj_clip=3,
    vocab_size=40_000,  # with 24,000, every nineteenth word of Wikipedia would be unknown; with these, every thirtieth
)
SMALL = ElmoConfig(
    n_characters=IDS,
    max_characters_per_token=50,
    char_dim=4,
    filters=[[1, 4], [2, 8], [3, 8]],
    activation="relu",
    dim=32,
    projection_dim=16,
    use_skip_connections=True,
    n_layers=2,
    n_highway=1,
    cell_clip=3,
    proj_clip=3,
    vocab_size=150,
)
FULL = Size(
    CONFIG,
    elmo_words.Amounts(20_000_000, 6_000_000, 2_500_000),
    rows=128,
    window=32,
    steps=6_000,
    samples=512,
    rate=2e-3,
)
TINY = Size(SMALL, elmo_words.Amounts(4000, 2000, 2000), rows=4, window=12, steps=60, samples=40, rate=1e-2)


def initialize(body: Elmo, softmax: nn.Linear) -> None:
    """First values as in bilm-tf, but for the softmax, which starts smaller; forget gates start open."""
    words = body.words
    nn.init.uniform_(words.embedding.weight, -1, 1)
    for convolution in words.convolutions:
        nn.init.uniform_(convolution.get_parameter("weight"), -0.05, 0.05)
        nn.init.zeros_(convolution.get_parameter("bias"))
    for highway in words.highways:
        weight, bias = highway.get_parameter("both.weight"), highway.get_parameter("both.bias")
        nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        made, kept = bias.data.chunk(2)
        made.zero_()
        kept.fill_(-2.0)  # most of the input is carried on
    nn.init.normal_(words.projection.weight, std=words.projection.in_features**-0.5)
    nn.init.zeros_(words.projection.bias)
    for layer in [*body.forwards, *body.backwards]:
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        nn.init.normal_(weight, std=(2 * weight.shape[1]) ** -0.5)
        nn.init.normal_(layer.get_parameter("projection.weight"), std=body.cells**-0.5)
        nn.init.zeros_(bias)
        nn.init.ones_(bias.data[body.cells : 2 * body.cells])
    nn.init.normal_(softmax.weight, std=0.05)
    nn.init.zeros_(softmax.bias)


class Reader(nn.Module):
    """The network as it is trained, and where each direction stands in its stream."""

    hidden: Tensor  # [2, layers, B, D]
    memory: Tensor  # [2, layers, B, C]
    table: Tensor  # [words, characters]

    def __init__(self, body: Elmo, softmax: nn.Linear, rows: int, table: np.ndarray) -> None:
        super().__init__()
        self.body, self.softmax = body, softmax
        width, layers = body.words.projection.out_features, len(body.forwards)
        self.register_buffer("hidden", torch.zeros(2, layers, rows, width))
        self.register_buffer("memory", torch.zeros(2, layers, rows, body.cells))
        self.register_buffer("table", torch.from_numpy(table), persistent=False)

    def forget(self) -> None:
        """Begin again."""
        self.hidden.zero_()
        self.memory.zero_()

    def words(self, numbers: Tensor) -> Tensor:
        """Words of the table [...] -> [..., D]."""
        distinct, places = numbers.unique(return_inverse=True)
        return self.body.words.distinct(self.table[distinct].to(torch.long))[places]

    def forward(self, ahead: Tensor, back: Tensor) -> Tensor:
        """Words of the table that each direction reads next, in its order [T, B] -> top layer of both [2, T, B, D]."""
        x = self.words(torch.stack([ahead, back]))  # [2, T, B, D]
        keep = torch.stack([ahead != BEGIN, back != END])[..., None].to(x.dtype)  # [2, T, B, 1]
        drop = nn.Dropout(DROPOUT).train(self.training)
        tops = []
        for way, layers in enumerate((self.body.forwards, self.body.backwards)):
            out = x[way]
            for index, layer in enumerate(layers):
                assert isinstance(layer, ProjectedLstm)
                out = drop(out)
                start = self.hidden[way, index].clone(), self.memory[way, index].clone()
                made, hidden, memory = layer.together(out, keep[way], *start)
                self.hidden[way, index].copy_(hidden)
                self.memory[way, index].copy_(memory)
                out = made + out if self.body.skip and index else made
            tops.append(drop(out))
        return torch.stack(tops)


def sampled_loss(tops: Tensor, targets: Tensor, out: nn.Linear, scored: Tensor, log_chance: Tensor) -> Tensor:
    """Cross entropy among the words `scored` [S], every target among them; tops [M, D], targets [M].

    A word's score is lowered by the logarithm of its chance to be scored [S], so that in expectation the words that
    were left out count (Jean et al. 2015, section 3; TensorFlow sampled_softmax_loss).
    """
    place = targets.new_zeros(out.out_features)  # [V]
    place[scored] = torch.arange(len(scored), device=scored.device)
    scores = torch.addmm(out.bias[scored] - log_chance, tops, out.weight[scored].t())  # [M, S]
    return F.cross_entropy(scores, place[targets])


class Sampler:
    """Which words are scored: the targets of the batch, and draws from a log-uniform distribution over ranks."""

    def __init__(self, counts: np.ndarray, samples: int, seed: int) -> None:
        """`counts` [V] are of the vocabulary's words in the text, the most frequent first."""
        ranks = np.arange(len(counts))
        self.drawn = np.log((ranks + 2) / (ranks + 1)) / np.log(len(counts) + 1)  # [V]
        self.text = counts / counts.sum()  # [V]
        self.samples, self.seed = samples, seed

    def __call__(self, step: int, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Targets [M] of a step -> the words scored [S], and the logarithms of their chance to be [S]."""
        uniform = np.random.default_rng([self.seed, step]).random(self.samples)
        ranks = (np.exp(uniform * np.log(len(self.text) + 1)) - 1).astype(np.int64)
        scored = torch.cat([targets.cpu(), torch.from_numpy(ranks)]).unique()
        index = scored.numpy()
        missed = len(targets) * np.log1p(-self.text[index]) + self.samples * np.log1p(-self.drawn[index])
        log_chance = torch.from_numpy(np.log(-np.expm1(missed))).float()
        return scored.to(targets.device), log_chance.to(targets.device)


@dataclass(frozen=True)
class Windows:
    """A stream laid out in rows that are read side by side, [B, words of a row]."""

    rows: np.ndarray
    window: int

    @staticmethod
    def of(stream: np.ndarray, rows: int, window: int) -> Windows:
        """Cut a stream into rows. What does not fill them is left out."""
        return Windows(stream[: len(stream) // rows * rows].reshape(rows, -1), window)

    def __len__(self) -> int:
        return (self.rows.shape[1] - 1) // self.window

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """What each direction reads in a window, and the word after it: [1 + T, B] each."""
        begin, end = index * self.window, (index + 1) * self.window + 1
        ahead, back = self.rows[:, begin:end], self.rows[:, ::-1][:, begin:end]
        first, second = (torch.from_numpy(part.astype(np.int64).T.copy()) for part in (ahead, back))
        return first, second


def targets_of(ahead: Tensor, back: Tensor, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Words read by both directions [1 + T, B] -> which places of [2, T, B] have a target, and the targets [M].

    Nothing is to be guessed after </S>, and before <S>: another text, of which nothing is known.
    """
    nexts = torch.stack([ahead[1:], back[1:]])  # [2, T, B]
    chosen = torch.stack([ahead[:-1] != END, back[:-1] != BEGIN])  # [2, T, B]
    targets = nexts[chosen]  # [M]
    return chosen, targets.where(targets < vocabulary, UNKNOWN)


def pretrain(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the last scores."""
    torch.manual_seed(run.seed)
    size = TINY if run.tiny else FULL
    corpus = elmo_words.read(
        run.data, run.out, size.amounts, size.config.vocab_size, size.config.max_characters_per_token, run.seed
    )
    config = replace(size.config, vocab_size=len(corpus.words))
    steps = max(2, round(size.steps * run.scale))
    network = elmo.build(config, HEADS)
    body, head = network.body, network.heads["lm"]
    assert isinstance(body, Elmo) and isinstance(head, BothWays)
    initialize(body, head.out)
    reader = Reader(body, head.out, size.rows, corpus.table).to(run.device)
    sampler = Sampler(corpus.counts[: config.vocab_size], size.samples, run.seed)
    phases = [Windows.of(stream, size.rows, size.window) for stream in (corpus.plain, corpus.mixed)]
    turn = round(PLAIN_SHARE * steps)

    def loss_of(step: int) -> tuple[Tensor, str, int]:
        plain = step < turn
        windows = phases[0] if plain else phases[1]
        index = (step if plain else step - turn) % len(windows)
        if not index:
            reader.forget()
        ahead, back = (part.to(run.device) for part in windows[index])
        chosen, targets = targets_of(ahead, back, config.vocab_size)
        tops = reader(ahead[:-1], back[:-1])[chosen]  # [M, D]
        loss = sampled_loss(tops, targets, reader.softmax, *sampler(step, targets))
        return loss, "text" if plain else "tldr", ahead[1:].numel()

    def evaluate() -> dict[str, float]:
        return held_out(reader, Windows.of(corpus.held, size.rows, size.window))

    plan = loop.Plan(
        loop.Schedule(steps, warmup=0.03, fall=0.6),
        run.out,
        evaluate_every=max(1, steps // EVALUATIONS),
        worth=lambda scores: -loop.mean(scores),
    )
    scores = loop.run(reader, loss_of, optimizers_for(reader, size.rate), plan, evaluate, run.resume)
    tokenizer = CharacterTokenizer(CharacterRows(config.max_characters_per_token), corpus.words, generates=True)
    export.export_both(run.checkpoint, elmo.FAMILY, config, network, HEADS, tokenizer)
    return scores


def optimizers_for(reader: Reader, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of LSTMs, highways and the projection of words, AdamW for the rest.

    AdamW alone is 0.04 nats behind after 80,000 words, and soon pushes all words to one side: what filters give is
    never negative, and a step of each weight adds up. The convolutions themselves go slower for the same reason.
    """
    words = reader.body.words
    layers = [*reader.body.forwards, *reader.body.backwards]
    matrices = [p for part in (*layers, *words.highways, words.projection) for p in part.parameters() if p.dim() == 2]
    slow = [p for part in (words.embedding, words.convolutions) for p in part.parameters()]
    taken = {id(p) for p in (*matrices, *slow)}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in reader.parameters() if id(p) not in taken]},
        {"params": slow, "lr": rate / 4},
    ]
    return [
        torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True),
        Muon(matrices, lr=MUON_RATE, weight_decay=0.01),
    ]


def held_out(reader: Reader, windows: Windows) -> dict[str, float]:
    """Mean loss of each direction among all words, over text that was kept apart. The state is put back afterwards."""
    kept = reader.hidden.clone(), reader.memory.clone()
    reader.forget()
    totals = torch.zeros(2, 2)  # sum and number, of each direction
    device = reader.hidden.device
    for index in range(len(windows)):
        ahead, back = (part.to(device) for part in windows[index])
        chosen, targets = targets_of(ahead, back, reader.softmax.out_features)
        tops = reader(ahead[:-1], back[:-1])[chosen]  # [M, D]
        losses = [
            F.cross_entropy(reader.softmax(some), wanted, reduction="none")
            for some, wanted in zip(tops.split(512), targets.split(512), strict=True)
        ]  # [512] each, not all at once: a place has a score for every word
        for way, part in enumerate(torch.cat(losses).split(chosen.sum((1, 2)).tolist())):
            totals[way] += torch.tensor([float(part.sum()), len(part)])
    reader.hidden.copy_(kept[0])
    reader.memory.copy_(kept[1])
    means = totals[:, 0] / totals[:, 1]
    return {"forward held-out loss": float(means[0]), "backward held-out loss": float(means[1])}
