"""Scores -> tokens: greedy choice and sampling over an explicit state, for one text or for several side by side.

Prompt lookup (Saxena 2023; verified as in Leviathan et al. 2023, section 2, for the greedy case): summaries repeat
their source, so what followed the last tokens where they stood before is read along with them, and as much of it is
kept as would have been chosen anyway. The choice is always the model's own; only the number of passes changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from zoo.contracts import Batch, Continues, HoldsBack, Rewinds
from zoo.errors import BadParameter, Unsupported
from zoo.family import Model
from zoo.sampling import Sampling

LIKELY = 5  # tokens that are named beside the chosen one
KEY = 3  # tokens that must have stood together before, for what followed them to be tried
REACH, FARTHEST = 4, 8  # tokens tried at first, and at most


@dataclass(frozen=True)
class Step:
    """One generated token and the logarithm of its probability under the model, before any filter.

    `likely` are the most likely tokens in its place with their probabilities, best first, out of what
    may be said at all (see `repeated`).
    """

    token: int
    log_probability: float
    likely: tuple[tuple[int, float], ...] = ()


def choose(logits: Tensor, sampling: Sampling, chance: torch.Generator) -> Step:
    """Choose from logits [V]."""
    scores = logits.float()
    (best,) = greedy(scores[None])
    if sampling.temperature == 0:
        return best
    total = scores.logsumexp(-1)
    scores = scores / sampling.temperature
    if 0 < sampling.top_k < len(scores):
        scores = scores.masked_fill(scores < scores.topk(sampling.top_k).values[-1], float("-inf"))
    if sampling.top_p < 1:
        ordered, order = scores.softmax(-1).sort(descending=True)
        outside = ordered.cumsum(-1) - ordered >= sampling.top_p  # the token that crosses top_p stays
        scores[order[outside]] = float("-inf")
    token = int(torch.multinomial(scores.softmax(-1), 1, generator=chance))
    return Step(token, float(logits[token].float() - total), best.likely)


def greedy(logits: Tensor) -> list[Step]:
    """The best token of every row of logits [N, V], and those next to it."""
    best = logits.topk(min(LIKELY, logits.shape[-1]))
    logarithms = best.values.float() - logits.float().logsumexp(-1, keepdim=True)  # [N, LIKELY]
    chances = logarithms.exp().tolist()
    rows = zip(best.indices.tolist(), logarithms[:, 0].tolist(), chances, strict=True)
    return [Step(ids[0], first, tuple(zip(ids, row, strict=True))) for ids, first, row in rows]


def repeated(history: Sequence[int], size: int) -> set[int]:
    """Tokens that would complete an n-gram of `size` already in `history`."""
    if size < 1 or len(history) < size:
        return set()
    tail = tuple(history[len(history) - size + 1 :])
    return {history[i + size - 1] for i in range(len(history) - size + 1) if tuple(history[i : i + size - 1]) == tail}


class Stream:
    """One text that is continued. `advance` computes for it; the steps it has chosen wait in `ready`."""

    def __init__(
        self,
        model: Model,
        head: str,
        prompt: Sequence[Any],
        most: int,
        sampling: Sampling,
        begin: Callable[[], Continues | None] | None = None,
        lookup: bool = False,
    ) -> None:
        """`begin` gives, in the first pass, a state of a beginning of the prompt, if one was read before; `lookup`
        tries what stood there before.

        Raises Unsupported when the family cannot go on from a state, BadParameter when prompt and `most` do not fit.
        """
        new_state = model.family.new_state
        if new_state is None:
            title = model.family.title
            raise Unsupported(f"{model.name} is a {title} and does not continue text. Choose another model.")
        if not prompt or most < 1 or len(prompt) + most > model.longest:
            raise BadParameter(
                f"{len(prompt)} tokens and {most} new ones were asked for; "
                f"{model.name} reads 1 to {model.longest} in all."
            )
        self.model, self.head, self.most, self.sampling = model, head, most, sampling
        state = new_state(model.config, 1, len(prompt) + most, next(model.network.parameters()))
        assert isinstance(state, Continues)
        self.state: Continues = state
        self.read: list[Any] = []  # what the state holds
        self.unread: list[Any] = list(prompt)
        self.said: list[int] = []
        self._begin = begin
        self.ready: deque[Step] = deque()
        self.finished = False
        self.passes = 0
        self._chance = torch.Generator().manual_seed(sampling.seed)
        rewinds = isinstance(state, Rewinds) and sampling.temperature == 0
        self._lookup = _Lookup(prompt) if lookup and rewinds else None
        self._draft: list[int] = []

    def start(self) -> None:
        """Before each pass: of the first one, take what was read before."""
        begin, self._begin = self._begin, None
        state = begin() if begin is not None else None
        if state is not None:
            self.state = state
            self.read, self.unread = self.unread[: state.lengths[0]], self.unread[state.lengths[0] :]

    @property
    def prompted(self) -> bool:
        """Whether the whole prompt was read."""
        return bool(self.said)

    def next_rows(self) -> list[Any]:
        """The tokens to be read in the next pass: those not read yet, and behind them those that are tried."""
        if self._in_parts:
            return self.unread[: self.state.prompt_part]
        room = self.most - len(self.said) - 1
        self._draft = self._lookup.draft(room) if self._lookup and self.said and room > 0 else []
        return self.unread + self._draft

    @property
    def scored(self) -> int:
        """How many of the last rows of that pass are to be scored."""
        return 0 if self._in_parts else 1 + len(self._draft)

    @property
    def _in_parts(self) -> bool:
        return 0 < self.state.prompt_part < len(self.unread)

    def accept(self, state: Continues, logits: Tensor, best: Sequence[Step]) -> None:
        """Choose from the logits [rows scored, V] of a pass, as long as what was tried is what is chosen; `best` is
        what `greedy` says of them."""
        self.passes += 1
        if not len(logits):
            part = self.state.prompt_part
            self.read += self.unread[:part]
            self.unread = self.unread[part:]
            self.state = state
            return
        self.read += self.unread
        said: list[int] = []
        for row, first, guess in zip(logits, best, [*self._draft, None], strict=True):
            step = self._choose(row, first)
            said.append(step.token)
            self.said.append(step.token)
            self.ready.append(step)
            self.finished = step.token == self.model.tokenizer.end or len(self.said) == self.most
            if self.finished or step.token != guess:
                break
            self.read.append(guess)
        if self._draft:
            assert isinstance(state, Rewinds)
            state = state.cut(len(self.read))
        if self._lookup:
            self._lookup.learn(said, len(said) - 1, len(self._draft))
        self.state = state
        self.unread = [self.model.tokenizer.reread(self.said[-1])]

    def _choose(self, logits: Tensor, best: Step) -> Step:
        banned = repeated(self.said, self.sampling.no_repeat)
        if not banned and self.sampling.temperature == 0:
            return best
        if banned:
            logits[list(banned)] = float("-inf")
        return choose(logits, self.sampling, self._chance)


@dataclass
class _Lookup:
    """What stood in a text, and which tokens followed."""

    text: list[int] = field(default_factory=list)
    reach: int = REACH
    _after: dict[tuple[int, ...], int] = field(default_factory=dict)

    def __init__(self, prompt: Sequence[int]) -> None:
        self.text, self.reach, self._after = [], REACH, {}
        self._read(prompt)

    def draft(self, most: int) -> list[int]:
        """What followed the last tokens where they stood the last time."""
        at = self._after.get(tuple(self.text[-KEY:]))
        return [] if at is None else self.text[at : at + min(self.reach, most)]

    def learn(self, tokens: Sequence[int], right: int, tried: int) -> None:
        """These were said, and so many of those tried were among them: try more where all were, fewer where none."""
        self._read(tokens)
        if tried:
            self.reach = min(2 * self.reach, FARTHEST) if right == tried else max(right, 1)

    def _read(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            if len(self.text) >= KEY:
                self._after[tuple(self.text[-KEY:])] = len(self.text)
            self.text.append(token)


def advance(streams: Sequence[Stream]) -> None:
    """One pass of a model for all these streams of one head: each reads on, and chooses if its prompt is read."""
    model, head = streams[0].model, streams[0].head
    with torch.inference_mode():
        for stream in streams:
            stream.start()
        past = [stream.state for stream in streams]
        state = past[0] if len(past) == 1 else type(past[0]).joined(past)
        device = next(model.network.parameters()).device
        batch = Batch.continuing([stream.next_rows() for stream in streams], state.lengths, device)
        hidden = model.network.body(batch, state)
        assert isinstance(hidden.state, Continues)
        after = hidden.state.parts() if len(streams) > 1 else (hidden.state,)
        # a family that gives one row a text (XLNet) has the row after its last token there
        texts = hidden.last.split(1) if len(hidden.last) == len(streams) else list(batch.split(hidden.last))
        wanted = [rows[len(rows) - stream.scored :] for stream, rows in zip(streams, texts, strict=True)]
        counts = [len(rows) for rows in wanted]
        logits, best = hidden.last.new_empty(0, 1), []
        if sum(counts):
            logits = model.network.heads[head](torch.cat(wanted), batch)  # [rows scored, V]
            if isinstance(model.tokenizer, HoldsBack):
                logits.index_fill_(1, batch.ids.new_tensor(model.tokenizer.unsaid), float("-inf"))
            best = greedy(logits)
        steps = iter(best)
        for stream, own, scores in zip(streams, after, logits.split(counts), strict=True):
            stream.accept(own, scores, list(islice(steps, len(scores))))


def generate(model: Model, head: str, prompt: Sequence[Any], most: int, sampling: Sampling) -> Iterator[Step]:
    """Continue `prompt` by at most `most` tokens, one a pass; ends after the end token, which is yielded too.

    The plain loop, without company, lookup or anything kept from before. Nothing is computed for a token before it is
    asked for, so closing the iterator stops the work. Raises what Stream raises.
    """
    stream = Stream(model, head, prompt, most, sampling)
    while stream.ready or not stream.finished:
        if stream.ready:
            yield stream.ready.popleft()
        else:
            advance([stream])
