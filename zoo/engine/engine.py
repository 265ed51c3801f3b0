"""Text in, scores out, for every tab, command line and test alike. Decides on kinds of heads only; no family or task
name occurs here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from zoo import generation
from zoo.contracts import Batch, Encoding, HeadSpec, Pieces
from zoo.engine import reading
from zoo.engine.answers import Chosen, Classified, Compared, Generated, Read, Spanned, SpanWindow, Timings
from zoo.engine.arriving import Arriving, waiting
from zoo.engine.cache import MOST_STATES, Cache, Prompts
from zoo.engine.line import LINE, Made
from zoo.engine.precision import DEFAULT, checked, prepared
from zoo.engine.store import ModelStore
from zoo.errors import BadParameter, InputEmpty
from zoo.family import Model
from zoo.generation import Step, Stream
from zoo.heads import PER_TEXT
from zoo.opening import load
from zoo.sampling import Sampling
from zoo.weights.hub import Progress

AHEAD = 4  # tokens of a text that are computed before they are asked for


class Engine:
    """Models in memory, and what they say about texts. Safe to call from many threads."""

    def __init__(
        self,
        memory_bytes: int | None = None,
        progress: bool = False,
        open_model: Callable[[str, bool | Progress], Model] = load,
        precision: str = DEFAULT,
        remember: int = 0,
        prepare: Callable[[Model, str], Model] = prepared,
    ) -> None:
        """`memory_bytes` is the budget for models, half of the machine's memory by default; `progress` shows
        downloads on stderr, else `opening` tells of them; `open_model(name, progress)` makes a model; `precision` is
        how it computes, see zoo/engine/precision.py, where "auto" becomes the name of the fastest; `remember` is how
        many answers of each model are kept, and with them the states of a few prompts (0 computes everything anew);
        `prepare(model, precision)` lays weights out for the processor. Raises BadParameter for a precision that this
        processor lacks."""
        self.precision = precision = checked(precision)
        self._arriving = arriving = Arriving()

        def opened(name: str) -> Model:  # knows no engine, or the two would keep each other in memory
            return prepare(open_model(name, progress or arriving.listener(name)), precision)

        self._store = ModelStore(opened, memory_bytes)
        self._cache = Cache(remember)
        self._prompts = Prompts(MOST_STATES if remember else 0)

    @property
    def memory_bytes(self) -> int:
        """The budget for models."""
        return self._store.budget

    @property
    def used_bytes(self) -> int:
        """What the models in memory take of it."""
        return self._store.used

    def loaded(self) -> list[tuple[str, int]]:
        """Names and bytes of the models in memory, most recently used last."""
        return self._store.loaded()

    def unload(self, name: str) -> bool:
        """Give the memory of a model back; whether it was loaded."""
        return self._store.unload(name)

    def model(self, name: str, timings: Timings | None = None) -> Model:
        """The model of that name, loaded when it is not in memory."""
        with (timings or Timings()).stage("load"):
            return self._store.get(name)

    def opening(self, name: str) -> Iterator[int]:
        """Load a model, and tell how many bytes of its files were fetched until it is in memory; nothing if it is.

        Raises what loading raises. Who stops listening does not stop the loading.
        """
        for _ in waiting(self._store.ask(name)):
            yield self._arriving.bytes(name)

    def alone(self, work: Callable[[], Made]) -> Made:
        """What `work` gives back, which is done while no forward pass is computed, by the thread that computes them."""
        return LINE.alone(work)

    def classify(
        self, name: str, head: str | None, texts: Sequence[tuple[str, str | None]], timings: Timings | None = None
    ) -> list[Classified]:
        """Label probabilities of texts or pairs; what is too long is cut, the longer text of a pair first."""
        timings = timings or Timings()
        model = self.model(name, timings)
        chosen = model.head("classifier", head)
        labels = model.heads[chosen].labels
        with timings.stage("tokenize"):
            cut = [reading.fit(model, first, second) for first, second in texts]
        with timings.stage("forward"):
            logits = self._run(model, chosen, [encoding for encoding, _ in cut], timings)
        with timings.stage("decode"):
            return [
                Classified(labels, tuple(row.float().softmax(-1).tolist()), read)
                for row, (_, read) in zip(logits, cut, strict=True)
            ]

    def similar(
        self, name: str, head: str | None, pairs: Sequence[tuple[str, str]], timings: Timings | None = None
    ) -> list[Compared]:
        """How alike two texts are: the scores of both orders, added up; what is too long is cut as in `classify`."""
        timings = timings or Timings()
        model = self.model(name, timings)
        chosen = model.head("similarity", head)
        with timings.stage("tokenize"):
            cut = [reading.cut(model, first, second) for first, second in pairs]
            orders = [model.tokenizer.assemble(*way) for kept, _ in cut for way in (kept, kept[::-1])]
        with timings.stage("forward"):
            scores = self._run(model, chosen, orders, timings)
        with timings.stage("decode"):
            sums = [(one + other).tolist() for one, other in zip(scores[::2], scores[1::2], strict=True)]
            labels = model.heads[chosen].labels
            return [Compared(labels, tuple(row), read) for row, (_, read) in zip(sums, cut, strict=True)]

    def choose(
        self, name: str, head: str | None, rows: Sequence[tuple[str, Sequence[str]]], timings: Timings | None = None
    ) -> list[Chosen]:
        """Which of some answers fits a context, for (context, answers): each is read behind it, and scores compared.

        Raises BadParameter where there is nothing to choose from.
        """
        timings = timings or Timings()
        model = self.model(name, timings)
        chosen = model.head("choice", head)
        if not all(answers for _, answers in rows):
            raise BadParameter("A row has no answers to choose from; give at least one.")
        with timings.stage("tokenize"):
            cut = [[reading.fit(model, context, answer) for answer in answers] for context, answers in rows]
        with timings.stage("forward"):
            scores = iter(self._run(model, chosen, [encoding for row in cut for encoding, _ in row], timings))
        with timings.stage("decode"):
            return [
                Chosen(
                    tuple(torch.cat([next(scores) for _ in row]).float().softmax(0).tolist()),
                    tuple(read for _, read in row),
                )
                for row in cut
            ]

    def spans(
        self,
        name: str,
        head: str | None,
        pairs: Sequence[tuple[str, str]],
        stride: int | None = None,
        window: int | None = None,
        timings: Timings | None = None,
    ) -> list[Spanned]:
        """Start and end scores of (question, passage) pairs, over as many windows as the passage needs.

        Neighbouring windows share `stride` tokens. Raises BadParameter when that leaves no room to move on.
        """
        timings = timings or Timings()
        model = self.model(name, timings)
        chosen = model.head("span", head)
        size = min(window or reading.WINDOW, model.longest)
        encodings: list[Encoding] = []
        owners: list[list[int]] = []
        questions: list[Read] = []
        with timings.stage("tokenize"):
            passages: dict[str, Pieces] = {}
            for question, passage in pairs:
                pieces = passages.get(passage) or passages.setdefault(passage, model.tokenizer.pieces(passage))
                made, read = reading.windows_over(model, question, pieces, stride, size)
                questions.append(read)
                owners.append(list(range(len(encodings), len(encodings) + len(made))))
                encodings += made
        with timings.stage("forward"):
            scores = self._run(model, chosen, encodings, timings)
        return [
            Spanned(tuple(_span_window(encodings[i], scores[i], model.heads[chosen]) for i in mine), read)
            for mine, read in zip(owners, questions, strict=True)
        ]

    def generate(
        self,
        name: str,
        head: str | None,
        document: str,
        suffix: str,
        most: int,
        sampling: Sampling,
        timings: Timings | None = None,
    ) -> Iterator[Generated]:
        """Continue `document + suffix` token by token; a long document is cut at its end, never the suffix.

        Yields after each token, of which a few are computed ahead; closing the iterator stops the work.
        """
        timings = timings or Timings()
        model = self.model(name, timings)
        chosen = model.head("lm", head)
        with timings.stage("tokenize"):
            kept, tail, read = reading.prompt(model, document, suffix, most)
            ids = model.tokenizer.prompt(kept + tail).ids
        said: list[int] = []
        prompt = document[: read.characters] + suffix
        with closing(self._steps(model, chosen, ids, most, sampling, timings)) as steps:
            while True:
                with timings.stage("forward"):
                    step = next(steps, None)
                if step is None:
                    return
                finished = step.token == model.tokenizer.end or len(said) + 1 == most
                if step.token != model.tokenizer.end:
                    said.append(step.token)
                with timings.stage("decode"):
                    text = model.tokenizer.decode(said)
                if text.endswith("\ufffd") and not finished:  # in the middle of a character of several bytes
                    text = text.rstrip("\ufffd")
                likely = tuple((model.tokenizer.decode([token]), chance) for token, chance in step.likely)
                piece = model.tokenizer.decode([step.token])
                yield Generated(
                    text, len(said), finished, read, prompt, step.log_probability, piece, tuple(said), likely
                )

    def _steps(
        self, model: Model, head: str, prompt: Sequence[Any], most: int, sampling: Sampling, timings: Timings
    ) -> Generator[Step]:
        """The tokens that continue a prompt, each computed when it is asked for, in company of other streams."""
        network = model.network
        key = ("stream", head, tuple(prompt), most, sampling)
        known: list[Step] = self._cache.get(network, key) or []
        for step in known:
            timings.remembered += 1
            yield step
        if known and (len(known) == most or known[-1].token == model.tokenizer.end):
            return
        begin = self._prompts.begin(network, prompt, len(prompt) + most)
        stream = Stream(model, head, prompt, most, sampling, begin, lookup=True)

        def advance(streams: list[Stream]) -> list[Stream]:
            generation.advance(streams)
            for one in streams:
                if len(one.said) <= 1 or one.finished:
                    self._prompts.keep(network, one.read, one.state)
            return streams

        place = LINE.stream(
            (id(network), head, "stream"),
            stream,
            lambda one: len(one.next_rows()),
            advance,
            lambda: not stream.finished and len(stream.ready) < AHEAD,
        )
        kept, skip = list(known), len(known)
        try:
            while not stream.finished or stream.ready:  # in this order: the last step may come between the questions
                if not stream.ready:
                    place.wait()
                    continue
                step = stream.ready.popleft()
                place.go_on()
                if skip:  # given from memory already; whoever asked wants more this time
                    skip -= 1
                    continue
                timings.computed += 1
                kept.append(step)
                yield step
        finally:
            place.leave()
            self._cache.put(network, key, kept)

    def _run(self, model: Model, head: str, encodings: Sequence[Encoding], timings: Timings) -> list[Tensor]:
        """Scores of every encoding, in the order given: [K] from a classifier, [T, K] from heads on tokens.

        Raises InputEmpty for a text that is nothing to the model, such as a zero-width space to GPT.
        """
        if not all(map(len, encodings)):
            raise InputEmpty(f"A text has no character that {model.name} reads. Write a word or two.")
        network = model.network
        keys = [(head, one.ids, one.segments, one.sources) for one in encodings]
        known = {key: self._cache.get(network, key) for key in keys}
        missing = {key: one for key, one in zip(keys, encodings, strict=True) if known[key] is None}
        per_text = [name for name, spec in model.heads.items() if spec.kind in PER_TEXT]
        device = next(network.parameters()).device

        def compute(some: list[tuple[str, Encoding]]) -> list[Tensor]:
            order = sorted(range(len(some)), key=lambda i: len(some[i][1]))  # equals are computed together
            heads = [some[i][0] for i in order]
            with torch.inference_mode():
                batch = Batch.of([some[i][1] for i in order], device)
                made = dict(zip(order, network.scores(batch, heads, per_text), strict=True))
            return [made[index].cpu() for index in range(len(some))]

        asked = [(head, one) for one in missing.values()]
        computed = LINE.run(id(network), asked, lambda one: len(one[1]), compute)
        for key, row in zip(missing, computed, strict=True):
            known[key] = row
            self._cache.put(network, key, row.clone())  # of a row alone, not of its batch
        timings.computed += len(missing)
        timings.remembered += len(keys) - len(missing)
        return [known[key] for key in keys]


def _span_window(encoding: Encoding, scores: Tensor, head: HeadSpec) -> SpanWindow:
    """Keep the scores of the passage's tokens, and those of the summary token as "no answer".

    Columns of a head with beams: the logarithms of start probabilities, a score of "no answer" in every row, and one
    column of end probabilities for each of the best starts, best first.
    """
    inside = [i for i, source in enumerate(encoding.sources) if source == 1]
    offsets = tuple(encoding.offsets[i] for i in inside)
    start = scores[inside, 0]
    if not head.beams:
        none = float(scores[encoding.summary].sum()) + head.none_bias
        return SpanWindow(start, scores[inside, 1], offsets, none)
    unanswerable = scores[encoding.summary, 1] + head.none_bias
    place = {row: index for index, row in enumerate(inside)}
    beams = [
        (float(scores[first, 0] + value - softplus(unanswerable)), place[first], place[last])
        for column, first in enumerate(scores[:, 0].topk(min(head.beams, len(scores))).indices.tolist())
        for value, last in zip(*_best(scores[:, 2 + column], head.beams), strict=True)
        if first in place and last in place
    ]
    return SpanWindow(start, start, offsets, -float(softplus(-unanswerable)), tuple(beams))


def _best(scores: Tensor, many: int) -> tuple[list[float], list[int]]:
    """The best values and where they are."""
    values, indices = scores.topk(min(many, len(scores)))
    return values.tolist(), indices.tolist()
