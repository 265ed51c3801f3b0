"""The heads for spans and pairs of this project's own GPT-2, XLNet and ULMFiT checkpoints.

When a causal body writes the row of a token it has not seen what follows, so a linear map on rows cannot know where an
answer begins; and a small body that learnt from little text has not learnt to compare a passage with a question. Here
the rows are read again as BiDAF does (Seo et al. 2017): from both ends, beside what DrQA gave its reader (Chen et al.
2017, section 3.2), then each token with the words of the question that are most like it, and once more from both ends.

In the same way a pair of texts is compared word by word here (Parikh et al. 2016): from the row of the last token,
gpt-mini and xlnet-mini were right in 37 and 41 of 100 after a thousand batches of all tasks; with this head, on NLI
alone, in 67 and 55 after two hundred.

B texts, N rows, T tokens of the longest text, D width, I width of the reader, K labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contracts import Batch
from zoo.layers.alignment import Alignment, across
from zoo.layers.pooling import average, largest, padded, real, swap

MATCHES = 3  # numbers that say of a token whether the other text has it


def with_reader(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A config with what only this project's checkpoints say: `reader`, the width of these heads, 0 for none; and
    `pair_heads`, the classifiers that compare two texts."""
    named = raw.get("pair_heads", ())
    return {"reader": 0, **raw, "pair_heads": tuple(named) if isinstance(named, list) else named}


def spelled(embedding: nn.Embedding, batch: Batch) -> Tensor:
    """What the tokens are wherever they stand, in numbers of a size that layers learn from: [N] -> [B, T, D]."""
    words = embedding(batch.ids)  # [N, D]
    return padded(F.layer_norm(words, words.shape[-1:]), batch)


def matches(ids: Tensor, sources: Tensor) -> Tensor:
    """What a token has to do with the other text: whether it stands there, too; with a neighbour of here; and how rare
    it is in the passage then. [B, T], [B, T] -> [B, T, 3], 0 to 1."""
    equal = ids[:, :, None] == ids[:, None]  # [B, T, T]
    same = equal & across(sources)
    around = F.pad(same, (1, 1, 1, 1))
    beside = same & (around[:, :-2, :-2] | around[:, 2:, 2:])  # the token before both, or behind both, is equal, too
    here = same.any(2)  # [B, T]
    times = (equal & (sources == 1)[:, None]).sum(2).clamp(min=1)
    return torch.stack([here.float(), beside.any(2).float(), here / times], dim=-1)


def question_first(sources: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The order in which a text that begins with its passage is read with its question first, and the way back: whoever
    reads the passage should know what is asked. Other texts stay as they are. [B, T], [B] -> [B, T] twice."""
    steps, lengths = torch.arange(sources.shape[1], device=sources.device), lengths[:, None]
    moved = ((sources == 1).sum(1) * (sources[:, 0] == 1))[:, None]  # [B, 1]: length of a passage that comes first
    inside = steps < lengths  # what fills up short texts stays where it is
    return ((steps + moved) % lengths).where(inside, steps), ((steps - moved) % lengths).where(inside, steps)


class BothWays(nn.Module):
    """An LSTM from each end. torch has a fast kernel for one direction without packing, so texts are turned round."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.rightward = nn.LSTM(width, inner, batch_first=True)
        self.leftward = nn.LSTM(width, inner, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """[B, T, D], [B] -> [B, T, 2I]. What fills up short texts comes behind them either way, and changes nothing."""
        steps = torch.arange(x.shape[1], device=x.device)  # [T]
        turned = (lengths[:, None] - 1 - steps).clamp(min=0)  # [B, T]: places from the end
        texts = torch.arange(len(x), device=x.device)[:, None]  # [B, 1]
        right, _ = self.rightward(x)
        left, _ = self.leftward(x[texts, turned])
        return torch.cat([right, left[texts, turned]], dim=2)


class ReadingSpan(nn.Module):
    """Start and end scores of a question's answer in the passage before or behind it. The body stays as it is.

    What is known of equal tokens is told as loud as all the rest together. As three numbers among four hundred of
    variance 1 it was not heard: xlnet-mini's reader, taught alone, had 13 exact answers of 100 after two hundred
    batches, and so told it had 26.
    """

    def __init__(
        self, embedding: nn.Embedding, inner: int, none: Literal["first", "last"] = "last", dropout: float = 0.2
    ) -> None:
        """`none` is the token of a text that means that there is no answer, which its tokenizer calls the summary."""
        super().__init__()
        width = embedding.embedding_dim
        self.embedding = embedding  # the module is shared with the body
        self.none = none
        self.loudness = math.sqrt(2 * width)
        self.dropout = nn.Dropout(dropout)
        self.read = BothWays(2 * width + MATCHES, inner)
        self.similar = nn.Linear(6 * inner, 1, bias=False)
        self.merge = nn.Linear(6 * inner, 2 * inner)
        self.again = BothWays(2 * inner, inner)
        self.out = nn.Linear(4 * inner, 2)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [N, 2]. Only tokens of the passage can be an answer, and the one which means that there is none;
        all others have the lowest score there is."""
        assert batch.sources is not None, "a span is looked for in a question and its passage"
        lengths = torch.tensor(batch.lengths, device=rows.device)  # [B]
        ids, sources = padded(batch.ids, batch), padded(batch.sources + 1, batch) - 1  # [B, T]
        words = spelled(self.embedding, batch)  # [B, T, D]
        known = self.loudness * matches(ids, sources)  # [B, T, M]
        told = torch.cat([padded(rows, batch), words, known.to(words.dtype)], dim=2)
        order, back = question_first(sources, lengths)
        x = self.dropout(self.read(self.dropout(swap(told, order)), lengths))  # [B, T, 2I]
        wanted = self._asked(x, (sources.gather(1, order) == 0)[:, None])
        merged = self.dropout(F.relu(self.merge(torch.cat([x, wanted, x * wanted], dim=2))))  # [B, T, 2I]
        again = self.dropout(self.again(merged, lengths))  # [B, T, 2I]
        scores = swap(self.out(torch.cat([merged, again], dim=2)), back)[real(batch)]  # [N, 2]
        none = batch.last_rows if self.none == "last" else batch.first_rows
        possible = (batch.sources == 1).index_fill(0, none, True)  # [N]
        return scores.masked_fill(~possible[:, None], torch.finfo(scores.dtype).min)

    def _asked(self, x: Tensor, asked: Tensor) -> Tensor:
        """For each token the mean of the question's tokens that are like it (Seo et al. 2017, equations 1 and 2), or
        zeros where the question has no tokens: [B, T, 2I], [B, 1, T] -> [B, T, 2I]."""
        one, other, both = self.similar.weight[0].chunk(3)  # [2I] each
        alike = (x @ one)[:, :, None] + (x @ other)[:, None] + (x * both) @ x.mT  # [B, T, T]
        return (alike.masked_fill(~asked, torch.finfo(alike.dtype).min).softmax(2) * asked) @ x


class ReadingPair(nn.Module):
    """Scores of the labels of a pair: decomposable attention (Parikh et al. 2016) over words and the rows of the body.

    Each word is compared with those of the other text that are like it; what that gives is pooled for either text.
    Words are told apart by their embeddings, which say the same wherever they stand.
    """

    def __init__(self, embedding: nn.Embedding, inner: int, labels: int, dropout: float = 0.1) -> None:
        super().__init__()
        width = embedding.embedding_dim
        self.embedding = embedding  # the module is shared with the body
        self.dropout = nn.Dropout(dropout)
        self.align = Alignment(width, inner)
        self.compare = nn.Linear(4 * width, inner)
        self.join = nn.Linear(4 * inner, inner)
        self.out = nn.Linear(inner, labels)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [B, K]."""
        assert batch.sources is not None, "a pair says which token is of which text"
        words = spelled(self.embedding, batch)  # [B, T, D]
        sources = padded(batch.sources + 1, batch) - 1  # [B, T]
        first, second = sources == 0, sources == 1
        other = self.align(words, across(sources))
        told = torch.cat([padded(rows, batch), words, other, words * other], dim=-1)  # [B, T, 4D]
        compared = F.relu(self.compare(self.dropout(told)))  # [B, T, I]
        pooled = torch.cat([pool(compared, text) for text in (first, second) for pool in (average, largest)], dim=-1)
        return self.out(self.dropout(F.relu(self.join(pooled))))
