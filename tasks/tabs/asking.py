"""What a tab asks of a model, how a task is shown, and what becomes of mistakes: shared by all parts of the page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gradio.components import Component

from tasks import TASKS
from tasks.compare import Asked
from tasks.results import Result
from tasks.tabs import views
from tasks.tabs.menus import chosen
from zoo.errors import BadParameter, Internal, ZooError

LOG = logging.getLogger(__name__)
TOGETHER = 8  # requests that the engine may compute side by side; who comes later is told how many are before
INFER: dict[str, Any] = {"concurrency_id": "infer", "concurrency_limit": TOGETHER}
LIGHT: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}


@dataclass(frozen=True)
class Option:
    """An advanced input: the task's keyword argument, what it is when nobody touched it, and what it may be.

    `choices` are (what a visitor reads, value); else a number from `low` to `high`, whole if `default` is, or a text of
    at most `high` characters.
    """

    name: str
    default: Any
    make: Callable[[], Component]
    low: float = 0
    high: float = 0
    choices: tuple[tuple[str, Any], ...] = ()

    def read(self, shown: Any) -> Any:
        """The keyword argument's value from what the component shows."""
        if self.choices:
            return dict(self.choices)[shown]
        return self.default if shown is None else shown

    def write(self, value: Any) -> str:
        """The value as a link has it."""
        return next(str(i) for i, (_, one) in enumerate(self.choices) if one == value) if self.choices else str(value)

    def parse(self, text: str) -> Any:
        """What the component is to show, from a link. Raises BadParameter."""
        try:
            if self.choices:
                return self.choices[int(text)][0] if text.isdecimal() else self.choices[len(self.choices)][0]
            if isinstance(self.default, str):
                if len(text) <= self.high:
                    return text
                raise ValueError
            number = type(self.default)(text)
            if self.low <= number <= self.high:
                return number
            raise ValueError
        except (ValueError, IndexError, OverflowError):
            allowed = (
                f"0 to {len(self.choices) - 1}" if self.choices
                else f"at most {self.high:g} characters" if isinstance(self.default, str)
                else f"{self.low:g} to {self.high:g}"
            )  # fmt: skip
            raise BadParameter(f"{self.name} is {text[:40]!r} in the link; it may be {allowed}.") from None


@dataclass(frozen=True)
class TaskTab:
    """What is particular to one task.

    `fields` makes the inputs for an example's texts, in the order of the task's fields; `body` shows a result.
    """

    task: str
    ask: str
    fields: Callable[[Sequence[str]], list[Component]]
    body: Callable[[Result, Mapping[str, str]], str]
    api: Callable[..., Any]  # engine -> typed function of the public endpoint
    options: tuple[Option, ...] = ()

    @property
    def title(self) -> str:
        """On the tab."""
        return TASKS[self.task].title

    @property
    def streams(self) -> bool:
        """Whether an answer grows before the visitor's eyes."""
        return TASKS[self.task].stream is not None

    def asked(self, value: str | None, values: Sequence[Any]) -> Asked:
        """What the inputs of the tab ask for. Raises UnknownModel for what its menu does not offer."""
        model, head = chosen(self.task, value)
        count = len(self.words)
        shown = zip(self.options, values[count:], strict=True)
        return Asked(self.task, model, head, tuple(values[:count]), {one.name: one.read(value) for one, value in shown})

    def by_name(self, texts: Sequence[Any]) -> dict[str, str]:
        """The texts by field name, as results speak of them."""
        return dict(zip(self.words, map(str, texts), strict=True))

    @property
    def last_field(self) -> str:
        """The field whose words are taken away: the hypothesis of a pair, or the only text."""
        return TASKS[self.task].fields[-1]

    @property
    def words(self) -> tuple[str, ...]:
        """Field names as a visitor reads them."""
        return tuple("passage" if name == "context" else name for name in TASKS[self.task].fields)


@contextmanager
def failures(task: str) -> Iterator[list[str]]:
    """Nothing is raised out of the block: what went wrong in it becomes a card, left in the list.

    A visitor learns the words of mistakes that were foreseen; of others an id, which the log has with the traceback.
    """
    cards: list[str] = []
    try:
        yield cards
    except ZooError as mistake:
        cards.append(views.error(mistake.message, mistake.code))
    except Exception:
        broken = Internal()
        LOG.exception("error %s in %s", broken.ident, task)
        cards.append(views.error(broken.message, broken.code))


def guarded(task: str, make: Callable[[], str]) -> str:
    """The card that `make` gives, or one that says what went wrong."""
    made = ""
    with failures(task) as cards:
        made = make()
    return cards[0] if cards else made
