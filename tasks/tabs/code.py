"""The same question from Python, from a shell, and through Gradio's client: code that runs as it stands."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable, Mapping
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
    model = f"{asked.model}#{asked.head}" if asked.head else asked.model
    return texts | {"model": model} | {n: value for n, value in asked.options.items() if value != defaults[n]}
