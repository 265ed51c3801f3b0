"""The same input through several models: their answers as they come, and in words where they agree and where not."""

from __future__ import annotations

import difflib
import logging
import re
import string
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tasks import TASKS
from tasks.results import Result
from zoo.errors import BadParameter, Internal, ZooError

if TYPE_CHECKING:
    from zoo.engine import Engine

LOG = logging.getLogger(__name__)
MOST = 4  # models at once
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
_WORDS = re.compile(r"\w+|\W+")
LABELS = ("nli", "classify")  # tasks whose answer is one of a few words


@dataclass(frozen=True)
class Loading:
    """A model is not in memory yet; so many bytes of its files have been fetched."""

    fetched: int


@dataclass(frozen=True)
class Asked:
    """A question to a model: the texts of a task in the order of its fields, and its keyword arguments."""

    task: str
    model: str
    head: str | None
    texts: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def answers(self, engine: Engine) -> Generator[Result]:
        """Results as they grow, the last one final; closing the iterator stops the work."""
        task = TASKS[self.task]
        if task.stream is not None:
            yield from task.stream(engine, self.model, *self.texts, head=self.head, **self.options)
        else:
            yield task.run(engine, self.model, *self.texts, head=self.head, **self.options)

    def steps(self, engine: Engine) -> Generator[Loading | Result]:
        """The same, but first how the model comes into memory; the results' time of loading has that in it."""
        started = time.perf_counter()
        for fetched in engine.opening(self.model):
            yield Loading(fetched)
        waited = time.perf_counter() - started
        with closing(self.answers(engine)) as answers:
            for made in answers:
                spent = made.timings
                yield replace(made, timings=spent | {name: spent.get(name, 0.0) + waited for name in ("load", "total")})


@dataclass(frozen=True)
class Column:
    """What one model has said so far: nothing yet, that it is being loaded, a result that grows, or a mistake. `done`
    ends it."""

    asked: Asked
    result: Result | None = None
    error: ZooError | None = None
    done: bool = False
    loading: Loading | None = None


def compare(engine: Engine, asked: Sequence[Asked]) -> Generator[tuple[Column, ...]]:
    """All columns after each step. Models that write take turns, a token each; a mistake ends its own column only.

    Raises what `checked` does.
    """
    columns = [Column(one) for one in checked(asked)]
    yield tuple(columns)
    with ExitStack() as stack:
        streams = [stack.enter_context(closing(one.steps(engine))) for one in asked]
        while not all(column.done for column in columns):
            for index, stream in enumerate(streams):
                if columns[index].done:
                    continue
                columns[index] = _step(columns[index], stream)
                yield tuple(columns)
                while columns[index].loading is not None:  # before the next model is asked for anything
                    columns[index] = _step(columns[index], stream)
                    yield tuple(columns)


def checked(asked: Sequence[Asked]) -> Sequence[Asked]:
    """The same, if it can be compared. Raises BadParameter for fewer than two models, more than MOST, or one twice."""
    names = [(one.model, one.head) for one in asked]
    if not 2 <= len(names) <= MOST:
        raise BadParameter(f"Choose 2 to {MOST} models to compare, not {len(names)}.")
    if len(set(names)) < len(names):
        raise BadParameter("A model was chosen twice; each is compared once.")
    return asked


def _step(column: Column, stream: Iterator[Loading | Result]) -> Column:
    """A column after the next word of its model, or of its loading."""
    column = replace(column, loading=None)
    try:
        made = next(stream, None)
    except ZooError as mistake:
        return replace(column, error=mistake, done=True)
    except Exception:
        broken = Internal()
        LOG.exception("error %s of %s in compare", broken.ident, column.asked.model)
        return replace(column, error=broken, done=True)
    if made is None:
        return replace(column, done=True)
    if isinstance(made, Loading):
        return replace(column, loading=made)
    return replace(column, result=made, done=bool(made.verdict))


def agreement(columns: Sequence[Column]) -> str:
    """In words, who says what: "Two say entailment, gpt-mini says neutral." Empty until two have answered."""
    said = [(column.asked, column.result) for column in columns if column.done and column.result is not None]
    if len(said) < 2:
        return ""
    task = said[0][0].task
    if task == "summarize":
        return _shared_words([made.answer for _, made in said])
    groups: dict[str, list[str]] = {}
    spelled: dict[str, str] = {}
    for asked, made in said:
        key = normal(made.answer)
        groups.setdefault(key, []).append(asked.model)
        spelled.setdefault(key, made.answer or "that there is no answer")
    if len(groups) == 1:
        (answer,) = spelled.values()
        return f"{'Both' if len(said) == 2 else f'All {NUMBERS[len(said)]}'} say {_quoted(task, answer)}."
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    parts = [
        f"{names[0]} says {_quoted(task, spelled[key])}" if len(names) == 1
        else f"{NUMBERS[len(names)]} say {_quoted(task, spelled[key])}"
        for key, names in ordered
    ]  # fmt: skip
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if len(ordered[0][1]) > 1 else f"{text}."


def _quoted(task: str, answer: str) -> str:
    return answer if task in LABELS or answer.startswith("that there is") else f"“{answer}”"


def normal(answer: str) -> str:
    """An answer as SQuAD's own script compares it: without case, punctuation, articles and double spaces."""
    bare = "".join(character for character in answer.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def _shared_words(texts: Sequence[str]) -> str:
    sets = [set(re.findall(r"\w+", text.lower())) for text in texts]
    every, shared = set.union(*sets), set.intersection(*sets)
    if not every:
        return "None of them said anything."
    return f"They share {len(shared)} of the {len(every)} different words that they use."


def _lower(text: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(text)]


def own_words(text: str, others: Sequence[str]) -> list[tuple[str, bool]]:
    """A text cut where it goes its own way: parts, and whether no other text has them in this order."""
    if not others:
        return [(text, False)]
    words, lower = _WORDS.findall(text), _lower(text)
    alone = [True] * len(words)
    for other in others:
        for block in difflib.SequenceMatcher(None, lower, _lower(other), False).get_matching_blocks():
            alone[block.a : block.a + block.size] = [False] * block.size
    parts: list[tuple[str, bool]] = []
    for word, own in zip(words, alone, strict=True):
        own = own and word.strip() != ""
        if parts and parts[-1][1] == own:
            parts[-1] = (parts[-1][0] + word, own)
        else:
            parts.append((word, own))
    return parts


class Pace:
    """Lets one step in a while through, so that a page is not drawn more often than anyone can see."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.last = seconds, 0.0

    def due(self) -> bool:
        """Whether it is time again."""
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True
