"""In what order the tokens of a text are predicted, and which of them (Yang et al. 2019, sections 2.2 and 2.3; original
code data_utils.py: _sample_mask, _local_perm).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

LONGEST_SPAN = 5  # words


class Order(NamedTuple):
    """What both streams of a batch may see, and what is asked of the second one."""

    unseen: Tensor  # [B, T, T], or [1, T, T] if all texts have one order
    targets: Tensor | None  # [B, Q]; None if all tokens are


def spans(ids: np.ndarray, begins_word: np.ndarray, one_of: int, chance: np.random.Generator) -> Order:
    """One token of `one_of` is a target, in spans of whole words; all else is context, which sees all context.

    `ids` [B, T]; `begins_word` [V] tells at which pieces a word begins. Targets follow each other in random order. The
    original hides the second half of a row from its first, which the next row will remember; here no row remembers.
    """
    texts, length = ids.shape
    count = length // one_of
    targets = np.stack([_targets(begins_word[row], count, one_of, chance) for row in ids])  # [B, Q]
    turn = np.full((texts, length), -1)  # [B, T]: when a token comes; context comes first
    np.put_along_axis(turn, targets, chance.permuted(np.tile(np.arange(count), (texts, 1)), axis=1), axis=1)
    # a target sees what comes before it; context sees no target
    unseen = (turn[:, None] >= turn[:, :, None]) & (turn[:, None] >= 0)  # [B, T, T]
    return Order(torch.from_numpy(unseen), torch.from_numpy(targets))


def _targets(begins: np.ndarray, count: int, one_of: int, chance: np.random.Generator) -> np.ndarray:
    """`count` tokens of a text, in order: spans of 1 to 5 words, short ones more often, each somewhere in a context of
    `one_of` times its tokens; what is missing at the end is drawn one by one."""
    length = len(begins)
    chosen = np.zeros(length, bool)
    left, at = count, 0
    sizes = np.arange(1, LONGEST_SPAN + 1)
    while left > 0 and at < length:
        size = min(int(chance.choice(sizes, p=1 / sizes / (1 / sizes).sum())), left)
        around = size * one_of
        before = int(chance.integers(around))
        first = at + before
        while first < length and not begins[first]:
            first += 1
        last, words = first + 1, 1
        while last < length and (not begins[last] or words < size):
            words += bool(begins[last])
            last += 1
        if first >= length or last - first > left:
            break
        chosen[first:last] = True
        left -= last - first
        at = last + around - before
    if left:
        chosen[chance.choice(np.flatnonzero(~chosen), left, replace=False)] = True
    return np.flatnonzero(chosen)
