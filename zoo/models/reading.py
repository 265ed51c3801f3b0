"""The heads for spans and pairs of this project's own GPT-2 and XLNet checkpoints.

When a causal body writes the row of a token it has not seen what follows, so a linear map on rows cannot know where an
answer begins; and a small body that learnt from little text has not learnt to compare a passage with a question. Here
the rows are read once more from both ends, beside what DrQA gave its reader (Chen et al. 2017, section 3.2): whether
the token occurs in the question, and the words of the question that are most like it.

In the same way a pair of texts is compared word by word here (Parikh et al. 2016): from the row of the last token,
gpt-mini and xlnet-mini had learnt nothing of it after a thousand batches, and with this head they were right in two of
three pairs after two hundred.

B texts, N rows, T tokens of the longest text, Q up to the end of the last question, D width, I width of the reader,
K labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contracts import Batch
from zoo.layers.alignment import Alignment, across
from zoo.layers.pooling import average, largest, padded


def with_reader(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A config with what only this project's checkpoints say: `reader`, the width of these heads, 0 for none; and
    `pair_heads`, the names of the classifiers that compare two texts."""
    named = raw.get("pair_heads", ())
    return {"reader": 0, **raw, "pair_heads": tuple(named) if isinstance(named, list) else named}


class ReadingSpan(nn.Module):
    """Start and end scores of a question's answer in the passage before or behind it. The body stays as it is."""

    def __init__(self, embedding: nn.Embedding, inner: int, dropout: float = 0.2) -> None:
        super().__init__()
        width = embedding.embedding_dim
        self.embedding = embedding  # the module is shared with the body
        self.dropout = nn.Dropout(dropout)
        self.compare = nn.Linear(width, inner)
        self.rightward = nn.LSTM(2 * width + 1, inner, batch_first=True)
        self.leftward = nn.LSTM(2 * width + 1, inner, batch_first=True)
        self.weigh = nn.Linear(2 * inner, 1)
        self.ask = nn.Linear(2 * inner, 4 * inner)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [N, 2]. Only tokens of the passage can be an answer, and the last token, which means that there is
        none; all others have the lowest score there is."""
        assert batch.sources is not None, "a span is looked for in a question and its passage"
        lengths = torch.tensor(batch.lengths, device=rows.device)[:, None]  # [B, 1]
        steps = torch.arange(max(batch.lengths), device=rows.device)  # [T]
        index = batch.first_rows[:, None] + torch.minimum(steps, lengths - 1)  # [B, T]: rows, the last one repeated
        turned = (lengths - 1 - steps).clamp(min=0)  # [B, T]: the same from the end
        within = steps < lengths  # [B, T]
        asked = (batch.sources[index] == 0) & within  # [B, T]
        compared = self._compared(batch.ids[index], asked)[within]  # [N, D + 1]
        x = self.dropout(torch.cat([rows, compared], dim=1))[index]  # [B, T, 2D + 1]
        texts = torch.arange(len(lengths), device=rows.device)[:, None]  # [B, 1]
        right, _ = self.rightward(x)  # [B, T, I]: what fills up short texts comes after them
        left, _ = self.leftward(x[texts, turned])
        read = torch.cat([right, left[texts, turned]], dim=2)  # [B, T, 2I]
        lowest = torch.finfo(read.dtype).min
        weights = self.weigh(read)[..., 0].masked_fill(~asked, lowest).softmax(1) * asked  # [B, T]
        question = torch.einsum("bt,bti->bi", weights, read)  # [B, 2I]
        ends = self.ask(self.dropout(question)).view(len(read), 2, -1)  # [B, 2, 2I]
        scores = (self.dropout(read) @ ends.mT)[within]  # [N, 2]
        possible = (batch.sources == 1).index_fill(0, batch.last_rows, True)  # [N]
        return scores.masked_fill(~possible[:, None], lowest)

    def _compared(self, ids: Tensor, asked: Tensor) -> Tensor:
        """Ids and whether they are of the question, [B, T] -> the question's words most like each, and whether it is
        one of them: [B, T, D + 1]."""
        places = asked.any(0).nonzero()  # none where the question has no pieces
        reach = int(places.max()) + 1 if len(places) else 0  # Q: no token of a question lies behind
        asked = asked[:, None, :reach]  # [B, 1, Q]
        same = ((ids[:, :, None] == ids[:, None, :reach]) & asked).any(2, keepdim=True)  # [B, T, 1]
        words = self.embedding(ids)  # [B, T, D]
        key = F.relu(self.compare(words))  # [B, T, I]
        alike = key @ key[:, :reach].mT * key.shape[2] ** -0.5  # [B, T, Q]
        alike = alike.masked_fill(~asked, torch.finfo(alike.dtype).min).softmax(2) * asked
        return torch.cat([alike @ words[:, :reach], same.to(words.dtype)], dim=2)


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
        words = self.embedding(batch.ids)  # [N, D]
        words = padded(F.layer_norm(words, words.shape[-1:]), batch)  # [B, T, D]
        sources = padded(batch.sources + 1, batch) - 1  # [B, T]
        first, second = sources == 0, sources == 1
        other = self.align(words, across(sources))
        told = torch.cat([padded(rows, batch), words, other, words * other], dim=-1)  # [B, T, 4D]
        compared = F.relu(self.compare(self.dropout(told)))  # [B, T, I]
        pooled = torch.cat([pool(compared, text) for text in (first, second) for pool in (average, largest)], dim=-1)
        return self.out(self.dropout(F.relu(self.join(pooled))))
