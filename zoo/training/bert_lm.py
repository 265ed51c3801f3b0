"""bert-lm: a small BERT with its own WordPiece vocabulary, pretrained on masked words and on whether one passage
follows another (Devlin et al. 2019, section 3.1; original code create_pretraining_data.py, run_pretraining.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
from tokenizers import models, normalizers, pre_tokenizers, trainers

from zoo.contracts import Batch, HeadSpec, Tokenizer
from zoo.errors import BadData, BadParameter
from zoo.family import Network
from zoo.models import bert
from zoo.training import export, loop, text
from zoo.training.pairs import Pairs, documents_of, pairs_of
from zoo.training.recipes import Run
from zoo.weights.layout import Opened
from zoo.weights.load import load_folder

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # the first ids of a vocabulary trained here
ALPHABET = 400  # letters and signs, the most frequent ones; words with others are unknown
HEADS = {"masked_lm": HeadSpec("masked_lm"), "next_sentence": HeadSpec("classifier", ("is_next", "not_next"))}
MASKED = 0.15  # of the words
AS_MASK, AS_OTHER = 0.8, 0.1  # of these, what becomes [MASK] and what another word; the rest stays


@dataclass(frozen=True)
class Size:
    """How large a network, and how much to show it."""

    config: bert.BertConfig
    length: int  # tokens of a pair
    steps: int
    batch: int  # pairs a step
    held: int  # pairs that are kept to watch the run by
    most: int  # tokens of text to draw from


# Without dropout: every text is seen once, or with other words masked. Some 25 million tokens: about four hours on one
# core. Longer texts than 128 tokens need positions that are trained on them, so there are no more.
WHOLE = Size(
    bert.BertConfig(8192, 256, 6, 8, 1024, "gelu_new", 128, 2, 1e-12, 0.0, 0.0), 128, 6000, 32, 512, 30_000_000
)
TINY = Size(
    replace(
        WHOLE.config,
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    ),
    48,
    60,
    8,
    8,
    100_000,
)


class Begun(NamedTuple):
    """What a run begins with."""

    tokenizer: Tokenizer
    config: bert.BertConfig
    network: Network


def pretrain(run: Run) -> dict[str, float]:
    """Run the recipe, write the checkpoint, and return the last scores."""
    torch.manual_seed(run.seed)
    size = TINY if run.tiny else WHOLE
    steps, device = max(1, round(size.steps * run.scale)), run.device
    tokenizer, config, network = begin(run, size)
    length = min(size.length, config.max_position_embeddings)
    pairs = read_pairs(run, tokenizer, length, size.most)
    held = range(max(1, min(size.held, len(pairs) // 8)))
    order = order_of(len(held), len(pairs), size.batch, steps, run.seed)
    masks = Masks.of(tokenizer)
    network.to(device)

    def loss_of(step: int) -> tuple[torch.Tensor, str, int]:
        drawn = draw(pairs, order[step], masks, np.random.default_rng([run.seed, step]), device)
        return sum_of_losses(network, drawn), "words and order", len(drawn.batch.ids)

    def evaluate() -> dict[str, float]:
        return watch(network, pairs, held, size.batch, masks, device)

    plan = loop.Plan(
        loop.Schedule(steps, warmup=0.06, fall=0.5),
        run.out,
        evaluate_every=250,
        worth=lambda scores: -scores["held-out masked words loss"],
    )
    optimizers = loop.optimizers_for(network, 1e-3, decay=0.01, muon_rate=0.01)
    scores = loop.run(network, loss_of, optimizers, plan, evaluate, run.resume)
    export.export_both(run.checkpoint, bert.FAMILY, config, network, HEADS, tokenizer)
    return scores


def begin(run: Run, size: Size) -> Begun:
    """A fresh network and a vocabulary of the run's own text, or those of the checkpoint to go on from."""
    run.out.mkdir(parents=True, exist_ok=True)
    if run.start is None:
        tokenizer = train_tokenizer(text.sample(run.data), run.out, size.config)
        return Begun(tokenizer, size.config, fresh(size.config))
    model = load_folder(run.start, [bert.FAMILY])
    if model.tokenizer.vocabulary > 2**16:
        raise BadParameter(f"{run.start} has {model.tokenizer.vocabulary:,} pieces; this recipe takes at most 65,536.")
    config = replace(model.config, attention_probs_dropout_prob=0.0)  # the fused CPU kernel has none
    network = fresh(config)
    network.body.load_state_dict(model.network.body.state_dict())
    for name, spec in HEADS.items():
        if model.heads.get(name) == spec:
            network.heads[name].load_state_dict(model.network.heads[name].state_dict())
    return Begun(model.tokenizer, config, network)


def train_tokenizer(texts: Iterable[str], out: Path, config: bert.BertConfig) -> Tokenizer:
    """WordPiece of the config's size, lower-cased; kept in `out` and used again when it is there.

    The library numbers the letters inside of words in the order of a hash table, another one each time, and goes on
    from there: named in advance, they make the same texts give the same vocabulary.
    """
    path = out / "vocab.txt"
    if not path.is_file():
        normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
        cut = [[w for w, _ in splitter.pre_tokenize_str(normalizer.normalize_str(t))] for t in texts]
        words = Counter(word for document in cut for word in document)
        letters: Counter[str] = Counter()
        for word, count in words.items():
            letters.update({letter: count * word.count(letter) for letter in set(word)})
        alphabet = sorted(letters, key=lambda letter: (-letters[letter], letter))[:ALPHABET]
        inside = sorted({f"##{letter}" for word in words for letter in word[1:]} & {f"##{a}" for a in alphabet})
        trainer = trainers.WordPieceTrainer(
            vocab_size=config.vocab_size,
            special_tokens=[*SPECIAL, *inside],
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
        )
        pipeline = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        pipeline.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        pipeline.train_from_iterator((" ".join(document) for document in cut), trainer)
        found = pipeline.get_vocab(with_added_tokens=True)
        with loop.replacing(path) as fresh_path:
            fresh_path.write_text("".join(f"{w}\n" for w in sorted(found, key=lambda w: found[w])), encoding="utf-8")
    return bert.read_tokenizer(Opened(out), config)


def fresh(config: bert.BertConfig) -> Network:
    """Initialised as in the original code: all matrices with std 0.02."""
    network = bert.build(config, HEADS)
    for name, parameter in network.named_parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.02)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    return network


def read_pairs(run: Run, tokenizer: Tokenizer, length: int, most: int) -> Pairs:
    """The pairs of a run; kept in its folder and used again when they are there. Raises BadData without text."""
    path = run.out / "pairs.npz"
    if not path.is_file():
        wiki, books = text.shards(run.data, "enwiki2018_*"), text.shards(run.data, "books_pd_*")
        documents = documents_of(tokenizer, text.texts([*wiki, *books]), most)
        if len(documents) < 2:
            raise BadData(f"{run.data / 'lm'} holds less than two documents of text.")
        made = pairs_of(documents, tokenizer, length, run.seed)
        with loop.replacing(path) as fresh_path:
            made.save(fresh_path)
    return Pairs.load(path)


def order_of(first: int, last: int, batch: int, steps: int, seed: int) -> list[np.ndarray]:
    """The pairs of every step, drawn from [first, last) and each once before any comes again."""
    drawn = text.endless(last - first, batch, np.random.default_rng(seed))
    return [first + next(drawn) for _ in range(steps)]


class Masks(NamedTuple):
    """What is never masked, what stands for a masked word, and what may stand in its place."""

    special: np.ndarray  # ids
    mask: int
    others: np.ndarray  # ids

    @staticmethod
    def of(tokenizer: Tokenizer) -> Masks:
        """Out of a vocabulary. Raises BadParameter when it has no [MASK]."""
        ids = {tokenizer.token(index): index for index in range(tokenizer.vocabulary)}
        if "[MASK]" not in ids:
            raise BadParameter("The vocabulary has no [MASK]; choose a checkpoint of BERT to go on from.")
        special = np.array([ids[token] for token in SPECIAL if token in ids])
        others = np.array(sorted(i for token, i in ids.items() if i not in special and not token.startswith("[unused")))
        return Masks(special, ids["[MASK]"], others)


def mask(ids: np.ndarray, lengths: np.ndarray, masks: Masks, chance: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Texts one after the other, [N] -> the ids to read [N], and the rows whose words are to be told [M].

    In each text 15 % of the tokens are drawn, special ones counted but not drawn, and one at least.
    """
    owner = np.repeat(np.arange(len(lengths)), lengths)  # [N]
    keys = chance.random(len(ids)) + np.isin(ids, masks.special)  # special tokens come last
    order = np.lexsort((keys, owner))
    rank = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    wanted = np.maximum(1, np.rint(lengths * MASKED)).astype(int)[owner]
    rows = np.sort(order[(rank < wanted) & (keys[order] < 1)])  # [M]
    fate = chance.random(len(rows))
    read = ids.copy()
    read[rows[fate < AS_MASK]] = masks.mask
    others = rows[(fate >= AS_MASK) & (fate < AS_MASK + AS_OTHER)]
    read[others] = chance.choice(masks.others, len(others))
    return read, rows


class Drawn(NamedTuple):
    """A batch with its answers."""

    batch: Batch
    rows: torch.Tensor  # [M]
    words: torch.Tensor  # [M]
    order: torch.Tensor  # [B]: 0 where the second passage follows the first


def draw(pairs: Pairs, chosen: Iterable[int], masks: Masks, chance: np.random.Generator, device: str) -> Drawn:
    """Lay out pairs as a batch, those of equal length side by side, and mask their words."""
    index = np.array(sorted(chosen, key=lambda i: (pairs.lengths[i], i)))
    ids = np.concatenate([pairs.ids_of(i) for i in index]).astype(np.int64)
    lengths, firsts = pairs.lengths[index], pairs.firsts[index]
    read, rows = mask(ids, lengths, masks, chance)
    positions = np.concatenate([np.arange(length) for length in lengths])
    segments = (positions >= np.repeat(firsts, lengths)).astype(np.int64)

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    batch = Batch(tensor(read), tensor(segments), tensor(positions), tuple(lengths.tolist()))
    return Drawn(batch, tensor(rows), tensor(ids[rows]), tensor(pairs.strange[index].astype(np.int64)))


def sum_of_losses(network: Network, drawn: Drawn) -> torch.Tensor:
    """Section A.2: the mean loss of the masked words and that of the order, added up."""
    rows = network.body(drawn.batch).last  # [N, D]
    words = network.heads["masked_lm"](rows[drawn.rows], drawn.batch)  # [M, V]: the vocabulary at the masked rows only
    order = network.heads["next_sentence"](rows, drawn.batch)  # [B, 2]
    return F.cross_entropy(words.float(), drawn.words) + F.cross_entropy(order.float(), drawn.order)


def watch(network: Network, pairs: Pairs, held: range, batch: int, masks: Masks, device: str) -> dict[str, float]:
    """Loss of masked words, and percent of pairs rightly judged, on pairs kept apart and masked ever the same."""
    loss, count, right = 0.0, 0, 0
    for begin_at in range(0, len(held), batch):
        chance = np.random.default_rng(begin_at)
        drawn = draw(pairs, held[begin_at : begin_at + batch], masks, chance, device)
        rows = network.body(drawn.batch).last
        words = network.heads["masked_lm"](rows[drawn.rows], drawn.batch)
        loss += float(F.cross_entropy(words.float(), drawn.words, reduction="sum"))
        count += len(drawn.rows)
        right += int((network.heads["next_sentence"](rows, drawn.batch).argmax(1) == drawn.order).sum())
    return {"held-out masked words loss": loss / max(1, count), "held-out order": 100 * right / len(held)}
