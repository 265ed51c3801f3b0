"""From hidden rows to scores. A few heads serve every family; a family says which it has and how each is pooled.

Kinds, as checkpoints name them in `HeadSpec.kind`:
`classifier` one score a label for each text; `pooled` the pooled vector alone; `tokens` one score a label for each
token; `span` a start and an end score for each token; `lm` the next token; `masked_lm` the token itself;
`similarity` one score a label for each order of a pair, to be added up; `choice` one score for each of several
continuations, to be compared; `features` a vector for each token.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contracts import Batch
from zoo.layers.activations import Activation
from zoo.layers.pooling import Pool

PER_TEXT = ("classifier", "pooled", "similarity", "choice")  # one row a text; the other kinds give one row a token


class Pooler(nn.Module):
    """A linear map and tanh on the pooled vector: BERT's pooler (Devlin et al. 2019, original code modeling.py)."""

    def __init__(self, pool: Pool, width: int) -> None:
        super().__init__()
        self.pool = pool
        self.dense = nn.Linear(width, width)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [B, D]."""
        return torch.tanh(self.dense(self.pool(rows, batch)))


class PlainPool(nn.Module):
    """A pool without parameters."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [B, D]."""
        return self.pool(rows, batch)


class Classifier(nn.Module):
    """One score a label for each text: pool, then a linear map."""

    def __init__(self, pooler: nn.Module, width: int, labels: int, bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.pooler = pooler
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, labels, bias=bias)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [B, K]."""
        return self.out(self.dropout(self.pooler(rows, batch)))


class Similarity(nn.Module):
    """Scores of one order of a pair; those of both orders add up to W(a + b) + bias (Radford et al. 2018, section 3.3).

    So each order brings half of the bias, and the orders can be computed in any company.
    """

    def __init__(self, pooler: nn.Module, width: int, labels: int) -> None:
        super().__init__()
        self.pooler = pooler
        self.out = nn.Linear(width, labels)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [B, K]."""
        return F.linear(self.pooler(rows, batch), self.out.weight, self.out.bias / 2)


class RowScores(nn.Module):
    """A linear map on every row: token classification with K labels, or a span head with the two columns start, end."""

    def __init__(self, width: int, columns: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, columns)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [N, K]."""
        return self.out(rows)


class ScoresWords(nn.Module):
    """A product with the (usually tied) input embedding, and a bias if the family has one.

    `packed` is the same map laid out for the processor, if there is one: a copy, for the embedding itself is looked up
    row by row. Derivatives are taken of the embedding.
    """

    bias: Tensor | None

    def __init__(self, embedding: nn.Embedding, bias: bool) -> None:
        super().__init__()
        self.embedding = embedding  # the module is shared with the body when tied
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings)) if bias else None
        self.packed: nn.Module | None = None

    def scores(self, rows: Tensor) -> Tensor:
        """[N, D] -> [N, V]."""
        if self.packed is not None and not torch.is_grad_enabled():
            scores: Tensor = self.packed(rows)
            return scores
        return F.linear(rows, self.embedding.weight, self.bias)


class LanguageModel(ScoresWords):
    """Scores of the next token at every row: a product with the (usually tied) input embedding, no bias but where the
    family has one."""

    def __init__(self, embedding: nn.Embedding, bias: bool = False) -> None:
        super().__init__(embedding, bias)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [N, V]."""
        return self.scores(rows)


class MaskedLanguageModel(ScoresWords):
    """Scores of the token itself at every row: dense, activation, norm, product with the embedding, bias."""

    def __init__(self, embedding: nn.Embedding, activation: Activation, eps: float) -> None:
        super().__init__(embedding, bias=True)
        width = embedding.embedding_dim
        self.dense = nn.Linear(width, width)
        self.activation = activation
        self.norm = nn.LayerNorm(width, eps)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [N, V]."""
        return self.scores(self.norm(self.activation(self.dense(rows))))
