"""ulmfit-lm: an AWD-LSTM language model over words, trained from scratch on Wikipedia and public-domain books (Howard &
Ruder 2018, section 3.1; Merity et al. 2017), at the end also on articles that end in `TL;DR:` and their lead sentence.

Adam with one cycle of the rate instead of Merity's averaged SGD: that is for hundreds of epochs over a small corpus,
and each text is read about once here. For the same reason dropout is a tenth of fastai's. The state is carried on from
batch to batch in columns of the stream, and pieces are of one length: no text comes twice at the same place anyway.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.contracts import HeadSpec
from zoo.family import Network
from zoo.models import ulmfit
from zoo.rows import read_rows
from zoo.tokenizers import fastai
from zoo.tokenizers.fastai import FastaiTokenizer
from zoo.training import awd, export, loop, text
from zoo.training.awd import Carried, Softmax
from zoo.training.recipes import Run
from zoo.training.text import Summarized
from zoo.weights.load import load_folder

HEADS = {"lm": HeadSpec("lm")}
PROMPT = "\nTL;DR:"
MARKERS = ("xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj", "1", "2")  # the first words
RULES, SPLIT = "2", "expression"
BOOK_PART = 20_000  # characters of a book that are one document: so that books lie among articles
BOOKS_SHARE = 0.15
MOST_SUMMARIZED = 2000  # characters of an article before its lead; of these some 40 to 300 words are kept
SUMMARIES_FROM = 0.75  # of the steps are on plain text alone
TASK_FILES = (
    "classification/ag_news_train_pool.jsonl.gz",
    "classification/sst2_train.jsonl.gz",
    "classification/rotten_tomatoes.jsonl.gz",
    "nli/snli_subset_train_18k.jsonl.gz",
    "nli/snli_subset_extra_2k.jsonl.gz",
    "qa/squad_v1.1_train.json.xz",
)
FIELDS = ("text", "premise", "hypothesis", "context", "question")
WORD_RATE = 0.5  # of the rate: an embedding moves less than what reads it
SMALL, SLOW = 0.2, 0.1  # of AR and TAR: a tenth of Merity's, as dropout is


@dataclass(frozen=True)
class Size:
    """What is trained, and on how much."""

    words: int
    width: int
    hidden: int
    layers: int
    head_size: int
    columns: int
    bptt: int
    steps: int
    characters: int  # of plain text
    summarized: int  # characters of articles with their leads
    softmax: Softmax
    rate: float


FULL = Size(30_000, 256, 384, 3, 128, 32, 70, 9000, 75_000_000, 110_000_000, Softmax(2048, 1024), 5e-3)
TINY = Size(240, 16, 24, 2, 8, 4, 12, 60, 12_000, 8_000, Softmax(64, 32), 2e-2)


def size_of(run: Run) -> Size:
    """The size of a run."""
    return TINY if run.tiny else FULL


def config_of(size: Size, words: int) -> ulmfit.UlmfitConfig:
    """The architecture; the classifier's inner layer and `bptt` are fastai's."""
    return ulmfit.UlmfitConfig(
        vocab_size=words,
        emb_sz=size.width,
        n_hid=size.hidden,
        n_layers=size.layers,
        pad_token=1,
        tie_weights=True,
        out_bias=True,
        lin_ftrs=(50,),
        lin_bias=True,
        bptt=72,
        max_len=None,
        pair_heads=("nli",),
        head_size=size.head_size,
    )


def fresh_network(config: ulmfit.UlmfitConfig, stream: np.ndarray) -> Network:
    """Initialised as Merity et al. do; forget gates are open at first (Jozefowicz et al. 2015, section 2.2).

    Words begin with the scores of their frequency in the stream. From equal ones the rare words, of which each batch
    sees a few, would have to be pushed down one by one while everything else moves.
    """
    network = ulmfit.build(config, HEADS)
    body, decoder = awd.body_of(network), awd.decoder_of(network)
    torch.nn.init.uniform_(body.word.weight, -0.1, 0.1)
    counts = np.bincount(stream, minlength=config.vocab_size) + 1
    assert decoder.bias is not None
    decoder.bias.data = torch.from_numpy(np.log(counts / counts.sum())).float()
    for rnn in awd.recurrent(body):
        with torch.no_grad():
            rnn.get_parameter("bias_ih_l0")[rnn.hidden_size : 2 * rnn.hidden_size] = 1.0
    return network


def documents(data: Path, size: Size) -> tuple[list[str], list[Summarized]]:
    """Plain texts, and other articles with their leads. Every shard gives its part; books are cut."""
    wiki, books = text.shards(data, "enwiki2018_*"), text.shards(data, "books_pd_*")
    plain: list[str] = []
    pairs: list[Summarized] = []
    common = text.common_words(data)
    share = size.characters * (1 - BOOKS_SHARE) / len(wiki)
    for shard in wiki:
        used = 0
        for article in map(text.mended, text.texts([shard])):
            if used < share:
                plain.append(article if len(plain) % text.ONE_IN else text.spaced(article, "", common))
            elif used < share + size.summarized / len(wiki):
                pair = text.lead_of(article)
                pairs += [pair] if pair else []
            else:
                break
            used += len(article)
    for shard in books:
        used = 0
        for part in (b[i : i + BOOK_PART] for b in text.texts([shard]) for i in range(0, len(b), BOOK_PART)):
            if used > size.characters * BOOKS_SHARE / len(books):
                break
            plain.append(part)
            used += len(part)
    return plain, pairs


def task_texts(data: Path) -> Iterator[str]:
    """The texts of the four tasks that are trained on, each once."""
    seen: set[int] = set()
    for row in chain.from_iterable(read_rows(data / name) for name in TASK_FILES):
        for field in FIELDS:
            if field in row and hash(row[field]) not in seen:
                seen.add(hash(row[field]))
                yield row[field]


class Words:
    """Numbers for words as they come, counted, until it is known which are the most frequent."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {word: number for number, word in enumerate(MARKERS)}

    def read(self, one: str) -> list[int]:
        """The words of a text as numbers."""
        numbers = self.numbers
        return [numbers.setdefault(word, len(numbers)) for word, _ in fastai.cut(one, RULES, SPLIT)]

    def ids(self, streams: Iterable[array], words: int) -> tuple[tuple[str, ...], np.ndarray]:
        """The vocabulary of so many words, markers first, then by frequency; and number -> id in it, 0 if unknown."""
        counts = np.zeros(len(self.numbers), np.int64)
        for stream in streams:
            counts += np.bincount(np.frombuffer(stream, np.int32), minlength=len(counts))
        counts[: len(MARKERS)] = np.iinfo(np.int64).max - np.arange(len(MARKERS))
        kept = np.argsort(-counts, kind="stable")[:words]
        kept = kept[counts[kept] > 0]
        names = list(self.numbers)
        table = np.zeros(len(counts), np.uint16)
        table[kept] = np.arange(len(kept))
        return tuple(names[number] for number in kept), table


def prepare(run: Run, size: Size) -> FastaiTokenizer:
    """The vocabulary and the streams `text`, `tldr` and `tasks` in the run's folder, made once: ids as uint16."""
    run.out.mkdir(parents=True, exist_ok=True)
    files = [run.out / f"{name}.npy" for name in ("text", "tldr", "tasks")]
    if (run.out / "tokenizer.json").is_file() and all(file.is_file() for file in files):
        return fastai.fastai_tokenizer(run.out, (), None)
    chance = random.Random(run.seed)
    plain, pairs = documents(run.data, size)
    tasks = list(task_texts(run.data))
    for some in (plain, pairs, tasks):
        chance.shuffle(some)
    words = Words()
    begin, tldr = MARKERS.index("xxbos"), words.read(PROMPT)
    (stop,) = words.read(".")
    streams = [array("i"), array("i"), array("i")]
    for one in plain:
        streams[0].extend((begin, *words.read(one)))
    for document, summary in pairs:
        streams[1].extend(
            (begin, *shortened(words.read(document[:MOST_SUMMARIZED]), stop, chance), *tldr, *words.read(summary))
        )
        if chance.random() < 0.3:  # plain text goes on among summaries
            streams[1].extend((begin, *words.read(chance.choice(plain)[:MOST_SUMMARIZED])))
    for one in tasks:
        streams[2].extend((begin, *words.read(one)))
    if run.start is None:
        vocabulary, table = words.ids(streams, size.words)
    else:  # going on from a checkpoint keeps its words
        known = fastai.fastai_tokenizer(run.start, (), None)
        vocabulary = tuple(known.token(index) for index in range(known.vocabulary))
        by_word = {word: index for index, word in enumerate(vocabulary)}
        table = np.array([by_word.get(word, 0) for word in words.numbers], np.uint16)
    for file, stream in zip(files, streams, strict=True):
        with loop.replacing(file) as fresh:
            np.save(fresh, table[np.frombuffer(stream, np.int32)])
    tokenizer = FastaiTokenizer(vocabulary, RULES, fastai.PAIR, SPLIT)
    tokenizer.save(run.out)
    return tokenizer


def shortened(ids: list[int], stop: int, chance: random.Random) -> list[int]:
    """The first sentences of a document, some 40 to 300 words of it."""
    room = chance.randint(40, 300)
    ends = [place + 1 for place, number in enumerate(ids[:room]) if number == stop]
    return ids[: ends[-1] if ends and ends[-1] > room // 2 else room]


def in_columns(stream: np.ndarray, columns: int) -> np.ndarray:
    """A stream cut into columns that are read side by side, [C, length]; what is left over is left out."""
    return stream[: len(stream) // columns * columns].reshape(columns, -1)


class Columns:
    """Columns of a stream, read piece by piece; around again at the end."""

    def __init__(self, table: np.ndarray, bptt: int) -> None:
        self.table, self.bptt = table, bptt
        self.pieces = max(1, (table.shape[1] - 1) // bptt)

    def piece(self, number: int, device: str) -> tuple[Tensor, Tensor, bool]:
        """Words and next words [C, T], and whether the columns begin."""
        number %= self.pieces
        begin = number * self.bptt
        part = self.table[:, begin : begin + self.bptt + 1].astype(np.int64)
        ids = torch.from_numpy(part).to(device)
        return ids[:, :-1], ids[:, 1:], number == 0


def split_held(stream: np.ndarray, held: int) -> tuple[np.ndarray, np.ndarray]:
    """All but the last words to train on, and those to watch the run by."""
    held = min(held, len(stream) // 8)
    return stream[:-held], stream[-held:]


def loss_on(carried: Carried, columns: Columns, number: int, share: awd.Dropouts, softmax: Softmax) -> Tensor:
    """The loss of one piece, read on from the piece before."""
    device = next(carried.parameters()).device
    ids, targets, first = columns.piece(number, str(device))
    if first:
        carried.forget()
    raw, rows = carried.read(ids, share)
    loss = softmax.loss(awd.decoder_of(carried.network), rows.flatten(0, 1), targets.reshape(-1))
    return loss + awd.regularization(raw, rows, SMALL, SLOW)


def held_loss(network: Network, stream: np.ndarray, columns: int) -> float:
    """Loss of held-out text by the full softmax, its columns read from zeros."""
    table = torch.from_numpy(in_columns(stream, columns).astype(np.int64)).to(next(network.parameters()).device)
    rows = awd.read(awd.body_of(network), table[:, :-1], None, awd.NONE)[0].flatten(0, 1)
    return awd.full_loss(awd.decoder_of(network), rows, table[:, 1:].reshape(-1))


def optimizers_for(network: Network, rate: float) -> list[torch.optim.Optimizer]:
    """AdamW with fastai's shorter memory of squares; the embedding's rows move only when they are touched."""
    word = awd.body_of(network).word.weight  # of the head, too
    matrices = [p for p in network.parameters() if p.dim() > 1 and p is not word]
    small = [p for p in network.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": small, "weight_decay": 0.0}]
    betas = (0.9, 0.99)
    return [
        torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True),
        awd.RowAdam([word], lr=rate * WORD_RATE, betas=betas),
    ]


def pretrain(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the last scores."""
    torch.manual_seed(run.seed)
    size = size_of(run)
    tokenizer = prepare(run, size)
    config = config_of(size, tokenizer.vocabulary)
    plain, held = split_held(np.load(run.out / "text.npy"), 16_000)
    network = fresh_network(config, plain)
    if run.start is not None:
        start = load_folder(run.start, [ulmfit.FAMILY])
        config, network = start.config, ulmfit.build(start.config, HEADS)
        network.load_state_dict(start.network.state_dict())
    network.to(run.device)
    carried = Carried(network, size.columns).to(run.device)
    steps = max(1, round(size.steps * run.scale))
    turn = round(steps * SUMMARIES_FROM)
    summaries, held_summaries = split_held(np.load(run.out / "tldr.npy"), 8_000)
    streams = [Columns(in_columns(stream, size.columns), size.bptt) for stream in (plain, summaries)]
    share = awd.FOR_LM.times(0.1)

    def loss_of(step: int) -> tuple[Tensor, str, int]:
        late = step >= turn
        loss = loss_on(carried, streams[late], step - turn * late, share, size.softmax)
        return loss, "tldr" if late else "text", size.columns * size.bptt

    def evaluate() -> dict[str, float]:
        return {
            "text held-out loss": held_loss(network, held, size.columns),
            "tldr held-out loss": held_loss(network, held_summaries, size.columns),
        }

    plan = loop.Plan(
        loop.Schedule(steps, warmup=0.05, fall=0.7),
        run.out,
        clip=0.5,
        evaluate_every=500,
        worth=lambda scores: -sum(scores.values()),
    )
    scores = loop.run(carried, loss_of, optimizers_for(network, size.rate), plan, evaluate, run.resume)
    export.export_both(run.checkpoint, ulmfit.FAMILY, config, network, HEADS, tokenizer)
    return scores
