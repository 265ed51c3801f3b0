"""What a task's menu offers, what a choice means, and which families are not there and why.

All of it follows from the catalog: a checkpoint answers a task because its row says so, a family does not because it
declares the reason.
"""

from __future__ import annotations

from tasks import TASKS
from zoo import catalog
from zoo.catalog import Checkpoint
from zoo.errors import UnknownModel, did_you_mean
from zoo.families import FamilyCard

LANGUAGES = {
    "en": "English",
    "zh": "Chinese",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "nl": "Dutch",
    "others": "others",
}
LONG = 8  # choices from which on a menu can be searched by typing


def menu(task: str) -> list[tuple[str, str]]:
    """(label, value) of every way to answer a task: a model, or `model#head` where a model has several heads for it.

    Those that ship with the project come first, the one that does the task best in front, then the user's own, then
    family by family.
    """
    return [(_label(row, task, head), choice(row, task, head)) for row in rows(task) for head in row.tasks[task]]


def rows(task: str) -> list[Checkpoint]:
    """The checkpoints that answer a task in the order of its menu; what ships with the project is in the order of the
    catalog."""
    place = {family.name: i for i, family in enumerate(catalog.FAMILIES)}
    return sorted(
        catalog.by_task(task), key=lambda row: (not row.embedded, row.own, 0 if row.embedded else place[row.family])
    )


def choice(row: Checkpoint, task: str, head: str) -> str:
    """The menu's value for one head of a checkpoint."""
    return f"{row.name}#{head}" if len(row.tasks[task]) > 1 else row.name


def with_head(task: str, head: str) -> str:
    """The menu's first value with that head."""
    return next(choice(row, task, head) for row in rows(task) if head in row.tasks[task])


def chosen(task: str, value: str | None) -> tuple[str, str | None]:
    """Model and head of a menu's value. Raises UnknownModel for all that the menu does not offer.

    The engine would also open folders and any Hub repository; a stranger on the page must not.
    """
    name, _, head = (value or "").partition("#")
    able = [row.name for row in rows(task)]
    if name not in able:
        raise UnknownModel(
            f"{name!r} is not a model that this page offers for {TASKS[task].title}.{did_you_mean(name, able)} "
            f"Choose from: {', '.join(able)}."
        )
    return name, head or None


def absent(task: str) -> list[tuple[FamilyCard, str]]:
    """The families that answer a task with no checkpoint, each with the reason that it declares."""
    here = {row.family for row in catalog.by_task(task)}
    return [(one, one.cannot[task]) for one in catalog.FAMILIES if one.name not in here and task in one.cannot]


def languages(row: Checkpoint, most: int = 3) -> str:
    """The languages of a checkpoint in words; how many they are, where they are more than `most`."""
    if len(row.languages) > most:
        return f"{len(row.languages)} languages"
    return ", ".join(LANGUAGES.get(code, code) for code in row.languages)


def tasks_of(row: Checkpoint) -> str:
    """The tasks that it answers, in words."""
    return ", ".join(TASKS[task].title for task in row.tasks) or "no task by itself"


def here(row: Checkpoint) -> str:
    """Where a checkpoint comes from that need not be fetched. A visitor learns no path of the machine."""
    return "a folder of your own" if row.own else "ships with the project"


def _label(row: Checkpoint, task: str, head: str) -> str:
    """Family, name, head where there are several, language, and what it takes until it answers."""
    names = [catalog.family(row.family).title, row.name, *([head] if len(row.tasks[task]) > 1 else [])]
    return " · ".join([*names, languages(row), readiness(row)])


def readiness(row: Checkpoint) -> str:
    """What it takes until a checkpoint answers: nothing, or a download of so many megabytes."""
    return "ready" if row.embedded else f"{row.megabytes:,} MB"


def waiting(task: str, model: str, fetched: int) -> str:
    """What a visitor reads until a model is in memory: what it waits for, how far that is, and who answers at once."""
    told = coming(catalog.get(model), fetched)
    ready = next((row.name for row in rows(task) if row.embedded and row.name != model), None)
    return f"{told} {ready} answers at once." if fetched and ready else told


def coming(row: Checkpoint, fetched: int) -> str:
    """How far the loading of a checkpoint is, with `fetched` bytes of its files here."""
    if row.embedded:
        return f"Loading {row.name} …"
    here = round(fetched / 1e6)
    if here >= row.megabytes:
        return f"Loading {row.name}: all of it is here."
    if here:
        return f"Fetching {row.name}: {here:,} of {row.megabytes:,} MB."
    return f"Fetching {row.name}: {row.megabytes:,} MB, which can take minutes the first time."
