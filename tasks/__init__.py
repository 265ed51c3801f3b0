"""The four tasks. Each takes text through the engine and gives a Result; none knows a family, or the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tasks import classify, nli, qa, summarize
from tasks.results import Result


@dataclass(frozen=True)
class Task:
    """What a menu, a command line or an API needs to know of a task."""

    name: str
    title: str
    about: str
    fields: tuple[str, ...]  # texts it takes
    kind: str  # of the head that answers it
    run: Callable[..., Result]
    many: Callable[..., Any] | None = None
    stream: Callable[..., Iterator[Result]] | None = None  # results as the answer grows


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("summarize", "Summarize", "A short version of a text.", ("text",), "lm", summarize.run,
             stream=summarize.stream),
        Task("nli", "Entail", "Does one sentence follow from another?", ("premise", "hypothesis"), "classifier",
             nli.run, nli.run_many),
        Task("qa", "Answer", "Find the answer in a passage.", ("question", "context"), "span", qa.run, qa.run_many),
        Task("classify", "Classify", "What is a text about, how does it sound?", ("text",), "classifier",
             classify.run, classify.run_many),
    )
}  # fmt: skip

__all__ = ["TASKS", "Result", "Task", "classify", "nli", "qa", "summarize"]
