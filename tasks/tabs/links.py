"""Links that bring a tab back as it was: its model, its texts, and the options that are not the usual ones.

`?tab=nli&model=bert-mini&premise=...&hypothesis=...`; what is longer than LONG is packed into one `z`. Everything a
link says is checked against what the page offers: a stranger may have written it.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tasks import TASKS
from tasks.compare import MOST as MOST_MODELS
from tasks.tabs import menus
from tasks.tabs.asking import Option, TaskTab
from zoo.errors import InputTooLong, ZooError

LONG = 1_500  # characters of a query, from which it is packed
MOST = 8_000  # characters of a query that is made or read
MOST_UNPACKED = 100_000
COMPARE = "compare"


@dataclass(frozen=True)
class Restored:
    """What a link asks for: a tab by its id, and values for its inputs (model, fields, options), if it names any.

    `trouble` is what was wrong with the link, in words; what was right with it is there nevertheless.
    """

    tab: str = ""
    values: tuple[Any, ...] = ()
    trouble: str = ""


def query(tab: TaskTab, value: str, texts: Sequence[str], shown: Sequence[Any]) -> str:
    """The query of a link to a task's tab as it is. Raises InputTooLong."""
    said = {"tab": tab.task, "model": value, **dict(zip(TASKS[tab.task].fields, texts, strict=True))}
    return _written(said | _changed(tab.options, shown))


def comparison(
    task: str, models: Sequence[str], texts: Sequence[str], options: Sequence[Option], shown: Sequence[Any]
) -> str:
    """The query of a link to the tab Compare as it is. Raises InputTooLong."""
    said = {"tab": COMPARE, "task": task, "models": ",".join(models)}
    named = dict(zip(TASKS[task].fields, texts, strict=True))
    return _written(said | named | _changed(options, shown))


def _changed(options: Sequence[Option], shown: Sequence[Any]) -> dict[str, str]:
    """The options that are not as usual."""
    now = [(option, option.read(one)) for option, one in zip(options, shown, strict=True)]
    return {option.name: option.write(value) for option, value in now if value != option.default}


def _written(said: Mapping[str, str]) -> str:
    plain = urlencode(said)
    if len(plain) <= LONG:
        return plain
    packed = base64.urlsafe_b64encode(zlib.compress(plain.encode(), 9)).decode().rstrip("=")
    if len(packed) > MOST:
        raise InputTooLong(
            f"The texts are too long for a link: it would have {len(packed):,} characters; browsers and chats take "
            f"about {MOST:,}. Shorten them, or share the code below instead."
        )
    return urlencode({"tab": said["tab"], "z": packed})


def read(
    tabs: Sequence[TaskTab], others: Sequence[str], params: Mapping[str, str], comparing: Sequence[Option] = ()
) -> Restored:
    """What a query asks for; `others` are the ids of tabs that hold no task, `comparing` the options of Compare. Never
    raises."""
    params = dict(params)
    if sum(len(name) + len(value) for name, value in params.items()) > MOST + 200:
        return Restored(trouble=f"The link is longer than {MOST:,} characters, and was not read.")
    if "z" in params:
        unpacked = _unpacked(params["z"])
        if unpacked is None:
            return Restored(_named(tabs, others, params), trouble="The link is damaged: a part of it is missing.")
        params |= unpacked
    wanted = _named(tabs, others, params)
    if wanted == COMPARE and "task" in params:
        return _compared(tabs, params, comparing)
    tab = next((one for one in tabs if one.task == wanted), None)
    if tab is None or not set(params) & {"model", *TASKS[tab.task].fields, *(one.name for one in tab.options)}:
        return Restored(wanted)
    return _filled(tab, params)


def _named(tabs: Sequence[TaskTab], others: Sequence[str], params: Mapping[str, str]) -> str:
    """The id of the tab that is named by its id or its title, or nothing."""
    wanted = params.get("tab", "").lower()
    names = {tab.title.lower(): tab.task for tab in tabs} | {tab.task: tab.task for tab in tabs}
    return (names | {name: name for name in others}).get(wanted, "")


def _filled(tab: TaskTab, params: Mapping[str, str]) -> Restored:
    trouble: list[str] = []
    values: list[Any] = [None]
    if "model" in params:
        try:
            menus.chosen(tab.task, params["model"])
            values[0] = params["model"]
        except ZooError as mistake:
            trouble.append(mistake.message)
    values += [params.get(name, "") for name in TASKS[tab.task].fields]
    values += _parsed(tab.options, params, trouble)
    return Restored(tab.task, tuple(values), " ".join(trouble))


def _compared(tabs: Sequence[TaskTab], params: Mapping[str, str], options: Sequence[Option]) -> Restored:
    """Values for the tab Compare: task, two texts, models, options."""
    task = params["task"]
    if task not in [tab.task for tab in tabs]:
        known = ", ".join(tab.task for tab in tabs)
        return Restored(COMPARE, trouble=f"{task[:40]!r} is no task; choose from {known}.")
    trouble: list[str] = []
    models: list[str] = []
    for value in dict.fromkeys(filter(None, params.get("models", "").split(","))):
        try:
            menus.chosen(task, value)
            models.append(value)
        except ZooError as mistake:
            trouble.append(mistake.message)
    if len(models) > MOST_MODELS:
        trouble.append(f"The link names {len(models)} models; {MOST_MODELS} fit side by side.")
    texts = [params.get(name, "") for name in TASKS[task].fields]
    values = [task, texts[0], texts[1] if len(texts) > 1 else "", models[:MOST_MODELS]]
    return Restored(COMPARE, (*values, *_parsed(options, params, trouble)), " ".join(trouble))


def _parsed(options: Sequence[Option], params: Mapping[str, str], trouble: list[str]) -> list[Any]:
    """What the components of the options are to show; what is wrong is added to `trouble`, and left as usual."""
    values = []
    for option in options:
        usual = option.write(option.default)
        try:
            values.append(option.parse(params.get(option.name, usual)))
        except ZooError as mistake:
            trouble.append(mistake.message)
            values.append(option.parse(usual))
    return values


def _unpacked(packed: str) -> dict[str, str] | None:
    """The parameters in a `z`; None where it is no such thing, or unpacks to more than MOST_UNPACKED."""
    try:
        raw = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        opened = zlib.decompressobj()
        plain = opened.decompress(raw, MOST_UNPACKED)
        if not opened.eof:
            return None
        return dict(parse_qsl(plain.decode(), keep_blank_values=True))
    except (binascii.Error, zlib.error, ValueError):
        return None
