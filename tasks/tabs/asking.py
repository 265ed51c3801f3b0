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
from zoo.errors import Internal, ZooError

LOG = logging.getLogger(__name__)
INFER: dict[str, Any] = {"concurrency_id": "infer", "concurrency_limit": 1}  # all forward passes wait in one line
LIGHT: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}


@dataclass(frozen=True)
class TaskTab:
    """What is particular to one task.

    `fields` makes the inputs for an example's texts, in the order of the task's fields; `options` makes the advanced
    ones, and `named` turns their values into the task's keyword arguments. `body` shows a result.
    """

    task: str
    ask: str
    fields: Callable[[Sequence[str]], list[Component]]
    body: Callable[[Result, Mapping[str, str]], str]
    api: Callable[..., Any]  # engine -> typed function of the public endpoint
    options: Callable[[], list[Component]] | None = None
    named: Callable[[Sequence[Any]], dict[str, Any]] = lambda values: {}

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
        return Asked(self.task, model, head, tuple(values[:count]), self.named(values[count:]))

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
