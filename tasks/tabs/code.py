"""The same question from Python, from a shell, and through Gradio's client: code that runs as it stands."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasks import TASKS
from tasks.compare import Asked


def python(asked: Asked, defaults: Mapping[str, Any]) -> str:
    """Without the page, through the library."""
    given = [f"    {text!r}," for text in asked.texts]
    given += [f"    head={asked.head!r},"] if asked.head else []
    given += [f"    {name}={value!r}," for name, value in asked.options.items() if value != defaults[name]]
    shown = "answer" if TASKS[asked.task].kind == "lm" else "verdict"
    lines = [
        f"from tasks import {asked.task}",
        "from zoo import Engine",
        "",
        f"result = {asked.task}.run(",
        "    Engine(),",
        f"    {asked.model!r},",
        *given,
        ")",
        f"print(result.{shown})",
    ]
    return "\n".join(lines)


def python_of_all(asked: Sequence[Asked], defaults: Mapping[str, Any]) -> str:
    """The same question to several models, through the library."""
    first = asked[0]
    options = {name: value for name, value in first.options.items() if value != defaults[name]}
    shown = "answer" if TASKS[first.task].kind == "lm" else "verdict"
    lines = [
        "from tasks.compare import Asked, agreement, compare",
        "from zoo import Engine",
        "",
        f"texts = {first.texts!r}",
        f"options = {options!r}",
        "asked = [",
        *(f"    Asked({one.task!r}, {one.model!r}, {one.head!r}, texts, options)," for one in asked),
        "]",
        "*_, columns = compare(Engine(), asked)",
        "for column in columns:",
        "    said = column.result or column.error",
        f"    print(column.asked.model, getattr(said, {shown!r}, said))",
        "print(agreement(columns))",
    ]
    return "\n".join(lines)


def client_of_all(asked: Sequence[Asked], defaults: Mapping[str, Any], base: str) -> str:
    """The same question to several models, through the package gradio_client."""
    given = {name: value for name, value in _named(asked[0], defaults).items() if name != "model"}
    lines = [
        "from gradio_client import Client",
        "",
        f"client = Client({base!r}, verbose=False)",
        f"for model in {[_value(one) for one in asked]!r}:",
        "    said = client.predict(",
        "        model=model,",
        *(f"        {name}={value!r}," for name, value in given.items()),
        f'        api_name="/{asked[0].task}",',
        "    )",
        '    print(model, said["answer"])',
    ]
    return "\n".join(lines)


def client(asked: Asked, defaults: Mapping[str, Any], base: str) -> str:
    """Through the package gradio_client."""
    given = [f"    {name}={value!r}," for name, value in _named(asked, defaults).items()]
    lines = [
        "from gradio_client import Client",
        "",
        f"client = Client({base!r})",
        "print(client.predict(",
        *given,
        f'    api_name="/{asked.task}",',
        "))",
    ]
    return "\n".join(lines)


def curl(asked: Asked, defaults: Mapping[str, Any], base: str, endpoint: Callable[..., Any]) -> str:
    """By HTTP alone: ask, then fetch the answer under the id that came back."""
    named = _named(asked, defaults)
    data = [named.get(name, one.default) for name, one in inspect.signature(endpoint).parameters.items()]
    url = f"{base.rstrip('/')}/gradio_api/call/{asked.task}"
    body = shlex.quote(json.dumps({"data": data}, ensure_ascii=False))
    return (
        f"id=$(curl -s {shlex.quote(url)} -H 'Content-Type: application/json' -d {body} | cut -d '\"' -f 4)\n"
        f'curl -sN {shlex.quote(url)}/"$id"'
    )


def _named(asked: Asked, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The endpoint's arguments by name, those that are not the usual ones."""
    texts = dict(zip(TASKS[asked.task].fields, asked.texts, strict=True))
    return texts | {"model": _value(asked)} | {n: value for n, value in asked.options.items() if value != defaults[n]}


def _value(asked: Asked) -> str:
    """The model as the endpoint has it."""
    return f"{asked.model}#{asked.head}" if asked.head else asked.model
