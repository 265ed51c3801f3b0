"""From the rows of a text to one vector a text: [N, D] -> [B, D]."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from zoo.contracts import Batch

Pool = Callable[[Tensor, Batch], Tensor]


def first_token(rows: Tensor, batch: Batch) -> Tensor:
    """The first token of each text, as BERT's [CLS]."""
    return rows[batch.first_rows]


def last_token(rows: Tensor, batch: Batch) -> Tensor:
    """The last token of each text, as in GPT and XLNet."""
    return rows[batch.last_rows]
