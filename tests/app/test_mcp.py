"""The four tasks as tools of a Model Context Protocol server, as `python app.py --mcp` serves them."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import app
from tasks import TASKS
from tests.app.fake import FakeEngine
from tests.app.serving import serve

anyio = pytest.importorskip("anyio")
pytest.importorskip("mcp")


@pytest.fixture(scope="module")
def ask() -> Any:
    """Calls something with a session of a client that is connected."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    with serve(FakeEngine(), mcp_server=True) as url:

        async def connected(what: Callable[[Any], Any]) -> Any:
            address = f"{url}gradio_api/mcp/"
            async with streamable_http_client(address) as (read, write, *_), ClientSession(read, write) as session:
                await session.initialize()
                return await what(session)

        with ThreadPoolExecutor(1) as thread:  # Playwright's loop may run in this one
            yield lambda what: thread.submit(anyio.run, connected, what).result()


def test_the_tools_are_the_tasks_and_say_what_they_take(ask: Any) -> None:
    tools = {tool.name: tool for tool in ask(lambda session: session.list_tools()).tools}
    assert set(tools) == set(TASKS)
    for name, tool in tools.items():
        assert tool.description
        assert set(tool.inputSchema["required"]) == set(TASKS[name].fields)
        for parameter, told in tool.inputSchema["properties"].items():
            assert told["description"], f"{name} does not say what {parameter} is"


def test_a_tool_answers(ask: Any) -> None:
    made = ask(lambda session: session.call_tool("nli", {"premise": "a", "hypothesis": "not a"}))
    assert not made.isError
    assert ast.literal_eval(made.content[0].text)["answer"] == "contradiction"


def test_a_mistake_is_told_in_words(ask: Any) -> None:
    made = ask(lambda session: session.call_tool("nli", {"premise": "", "hypothesis": "b"}))
    assert made.isError and "The premise is empty" in made.content[0].text


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install 'gradio\[mcp\]'"):
        app.main(["--mcp"])
