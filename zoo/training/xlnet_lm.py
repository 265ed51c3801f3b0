"""xlnet-lm: a small XLNet with a Unigram vocabulary of its own, trained on Wikipedia and public-domain books by
predicting tokens in random order with two streams (Yang et al. 2019, section 2), then on longer rows, half of which
end in `TL;DR:` and a summary.

Two kinds of batches alternate. In one, spans are predicted from all the text around them, as in the original. In the
other, the order is from left to right and all tokens are predicted: an order like any other, but the one in which the
network will continue texts. Rows are of one segment and have no memory before them; segments are learnt in fine-tuning.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contracts import Batch, HeadSpec, Tokenizer
from zoo.errors import BadData, BadParameter
from zoo.family import Network
from zoo.models import xlnet
from zoo.tokenizers import sentencepiece
from zoo.training import export, loop, text, xlnet_orders
from zoo.training.gpt_lm import summaries
from zoo.training.muon import Muon
from zoo.training.recipes import Run
from zoo.training.xlnet_orders import Order
from zoo.weights.layout import Opened
from zoo.weights.load import load_folder

PROMPT = "\nTL;DR:"
HEADS = {"lm": HeadSpec("lm")}
ONE_OF = 3  # tokens is predicted in spans; the paper's 6 and 7 leave most of a small run's text untaught
ONWARD_SHARE = 0.5  # of the batches go from left to right
SAMPLED = 10_000  # characters of a document that the vocabulary is made from: more take minutes and change little
SHORT_SHARE = 0.75  # of the steps have rows of half the length


@dataclass(frozen=True)
class Size:
    """How large a network, and how much to show it."""

    config: xlnet.XlnetConfig
    steps: int
    length: int  # tokens of a row
    batch: int  # rows a step
    held: int  # rows of each kind that are kept to watch the run by


# So narrow because two streams are dear: in four minutes of one core 192 wide came further than 256 (loss 5.52 against
# 5.89, both with four layers). Without dropout: no text is seen twice. Distances above the clamp occur in long rows, so
# that texts longer than any that was trained on look no different from those. `mem_len` null: what was read is
# kept while a text goes on.
CONFIG = xlnet.XlnetConfig(
    vocab_size=8000,
    d_model=192,
    n_layer=5,
    n_head=3,
    d_inner=768,
    clamp_len=160,
    mem_len=None,
    dropout=0.0,
    summary_last_dropout=0.0,
    continue_type="uni",
)
WHOLE = Size(CONFIG, steps=4000, length=256, batch=16, held=32)
TINY = Size(replace(CONFIG, vocab_size=300, d_model=32, n_layer=2, n_head=2, d_inner=64), 60, 64, 8, 4)


class Begun(NamedTuple):
    """What a run begins with."""

    tokenizer: Tokenizer
    config: xlnet.XlnetConfig
    network: Network


class Step(NamedTuple):
    """One batch: where its rows are, and the kind of order."""

    source: str  # "text" or "tldr"
    rows: np.ndarray  # [rows] indices
    short: bool  # cut in halves
    onward: bool


def pretrain(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the last scores.

    Raises BadData when the folder holds too little text.
    """
    torch.manual_seed(run.seed)
    size = TINY if run.tiny else WHOLE
    steps = max(1, round(size.steps * run.scale))
    tokenizer, config, network = begin(run, size)
    rows = sequences(run.data, run.out, tokenizer, size.length, run.seed)
    held = {name: torch.from_numpy(some[-size.held :].astype(np.int64)) for name, some in rows.items()}
    rows = {name: some[: -size.held] for name, some in rows.items()}
    if not len(rows["text"]):
        raise BadData(f"{run.data / 'lm'} holds too little text: less than {size.held + 1} times {size.length} tokens.")
    batches = schedule(rows, size.batch, steps, run.seed)
    teacher = Teacher(network, tokenizer, run.seed, run.device)

    def loss_of(step: int) -> tuple[Tensor, str, int]:
        chosen = batches[step]
        ids = torch.from_numpy(rows[chosen.source][chosen.rows].astype(np.int64))  # [B, T]
        if chosen.short:
            ids = ids.view(2 * len(ids), -1)
        loss = teacher.onward(ids) if chosen.onward else teacher.spans(ids, step)
        kind = "tldr" if chosen.source == "tldr" else "onward" if chosen.onward else "spans"
        return loss, kind, ids.numel()

    def evaluate() -> dict[str, float]:
        found = {
            f"{name} onward held-out loss": float(teacher.onward(some)) for name, some in held.items() if len(some)
        }
        return found | {"text spans held-out loss": float(teacher.spans(held["text"], 0))}

    schedule_of_rates = loop.Schedule(steps, warmup=0.03, fall=0.6)
    plan = loop.Plan(schedule_of_rates, run.out, evaluate_every=250, worth=lambda s: -loop.mean(s))
    scores = loop.run(network, loss_of, optimizers_for(network), plan, evaluate, run.resume)
    export.export_both(run.checkpoint, xlnet.FAMILY, config, network, HEADS, tokenizer)
    return scores


class Teacher:
    """Losses of both kinds of orders on rows of equal length."""

    def __init__(self, network: Network, tokenizer: Tokenizer, seed: int, device: str) -> None:
        assert isinstance(network.body, xlnet.Xlnet)
        self.network = network.to(device)
        self.body = network.body
        self.seed = seed
        self.device = device
        self.end = tokenizer.end
        self.begins_word = np.array([tokenizer.token(i).startswith(("▁", "<")) for i in range(tokenizer.vocabulary)])

    def spans(self, ids: Tensor, step: int) -> Tensor:
        """Mean loss of spans predicted in random order, out of rows [B, T]; the orders follow from seed and step."""
        chance = np.random.default_rng((self.seed, step))
        order = xlnet_orders.spans(ids.numpy(), self.begins_word, ONE_OF, chance)
        assert order.targets is not None
        return self._loss(ids, order, ids.gather(1, order.targets))

    def onward(self, ids: Tensor) -> Tensor:
        """Mean loss of all tokens of rows [B, T] from left to right, but for the first, before which there is nothing,
        and for what fills up a row."""
        wanted = ids.clone()
        wanted[:, 0] = -100  # cross entropy leaves these out
        wanted[:, 1:][(ids[:, 1:] == self.end) & (ids[:, :-1] == self.end)] = -100
        return self._loss(ids, Order(xlnet.ahead(ids.shape[1], ids.device), None), wanted)

    def _loss(self, ids: Tensor, order: Order, wanted: Tensor) -> Tensor:
        """[B, T], [B, Q] -> mean over what is wanted."""
        texts, length = ids.shape
        flat = ids.to(self.device).flatten()  # [N]
        batch = Batch(flat, torch.zeros_like(flat), torch.zeros_like(flat), (length,) * texts)
        targets = None if order.targets is None else order.targets.to(self.device)
        rows = self.body.guesses(batch, order.unseen.to(self.device), targets)  # [B * Q, D]
        return F.cross_entropy(self.network.heads["lm"](rows, batch).float(), wanted.to(self.device).flatten())


def begin(run: Run, size: Size) -> Begun:
    """A fresh network and a vocabulary of the run's own text, or those of the checkpoint to go on from."""
    run.out.mkdir(parents=True, exist_ok=True)
    if run.start is None:
        tokenizer = train_tokenizer(run.data, run.out, size.config)
        config = replace(size.config, vocab_size=tokenizer.vocabulary)  # little text has fewer pieces than asked for
        return Begun(tokenizer, config, fresh(config))
    model = load_folder(run.start, [xlnet.FAMILY])
    if model.tokenizer.vocabulary > 2**16:
        raise BadParameter(f"{run.start} has {model.tokenizer.vocabulary:,} pieces; this recipe takes at most 65,536.")
    config = replace(model.config, dropout=0.0, summary_last_dropout=0.0, continue_type="uni")
    network = fresh(config)
    network.body.load_state_dict(model.network.body.state_dict())
    if "lm" in model.network.heads:
        network.heads["lm"].load_state_dict(model.network.heads["lm"].state_dict())
    return Begun(model.tokenizer, config, network)


def train_tokenizer(data: Path, out: Path, config: xlnet.XlnetConfig) -> Tokenizer:
    """Unigram of the config's size on a sample of the text; kept in `out` and used again when it is there: the library
    does not make the same one twice, so a run is repeated with the vocabulary that it had."""
    path = out / "tokenizer.json"
    if not path.is_file():
        sample = [document[:SAMPLED] for document in text.sample(data)]
        pipeline: tokenizers.Tokenizer = sentencepiece.train(sample, xlnet.SPECIALS, config.vocab_size)
        with loop.replacing(path) as fresh_path:
            pipeline.save(str(fresh_path))
    return xlnet.read_tokenizer(Opened(out), config)


def fresh(config: xlnet.XlnetConfig) -> Network:
    """Initialised as in the original code: all that is no norm and no bias of a linear map with std 0.02."""
    network = xlnet.build(config, HEADS)
    for name, parameter in network.named_parameters():
        if parameter.dim() >= 2 or name == "body.masked":
            nn.init.normal_(parameter, std=0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    return network


def sequences(data: Path, out: Path, tokenizer: Tokenizer, length: int, seed: int) -> dict[str, np.ndarray]:
    """Rows of plain text and rows that end in summaries, each [rows, length] of uint16; kept in `out`."""
    path = out / "sequences.npz"
    if not path.is_file():
        assert tokenizer.end is not None
        wiki, books = text.shards(data, "enwiki2018_*"), text.shards(data, "books_pd_*")
        stream = text.token_stream(tokenizer, text.reading(data, [*wiki, *books]), tokenizer.end)
        plain = stream[: len(stream) // length * length].reshape(-1, length)
        pairs = list(summaries(data))
        random.Random(seed).shuffle(pairs)
        tldr = text.tldr_sequences(tokenizer, pairs, PROMPT, tokenizer.end, length, seed)
        with loop.replacing(path) as fresh_path, fresh_path.open("wb") as file:
            np.savez(file, text=plain, tldr=tldr)
    arrays = np.load(path)
    return {name: arrays[name] for name in ("text", "tldr")}


def schedule(rows: dict[str, np.ndarray], batch: int, steps: int, seed: int) -> list[Step]:
    """The batches of a run: halves of rows of plain text; then whole rows, every third of which end in summaries."""
    chance = np.random.default_rng(seed)
    streams = {name: text.endless(len(some), batch, chance) for name, some in rows.items() if len(some)}
    made = []
    for step in range(steps):
        short = step < SHORT_SHARE * steps
        source = "tldr" if not short and step % 3 == 0 and "tldr" in streams else "text"
        onward = bool(chance.random() < ONWARD_SHARE) or source == "tldr"
        made.append(Step(source, next(streams[source]), short, onward))
    return made


def optimizers_for(network: Network) -> list[torch.optim.Optimizer]:
    """Muon for the maps of the blocks; AdamW for embeddings, norms and biases, among them those that attention adds to
    its queries head by head, which are no maps."""
    parts = network.body.get_submodule("blocks").modules()
    maps = [part.weight for part in parts if isinstance(part, nn.Linear)]
    known = set(map(id, maps))
    rest = [p for p in network.parameters() if id(p) not in known]
    groups = [
        {"params": [p for p in rest if p.dim() == 2], "weight_decay": 0.01},
        {"params": [p for p in rest if p.dim() != 2], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.95), fused=True)
    return [adam, Muon(maps, lr=0.02, weight_decay=0.01)]
