"""Words of a text: spaCy's where it is installed, and what an expression makes of them otherwise."""

from __future__ import annotations

import builtins
import importlib
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from zoo.__main__ import main
from zoo.tokenizers import words

NASTY = (
    "", " ", "\n\t ", "a", "Don't stop, it's here.", "  two  spaces  ", "U.S. 1,000.50 e.g. 12:30", "e\u0301te\u0301",
    "猫坐在垫子上。", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0627\u0644\u0642\u0637\u0629", "\x00\x01", "'''",
    "a\u00a0b", "http://a.b/c?d=e", "(well-known)", "\ud800",
)  # fmt: skip


@pytest.mark.parametrize("split", [words.split, words.by_expression])
@pytest.mark.parametrize("text", NASTY)
def test_spans_hold_all_but_white_space(text: str, split: Callable[[str], words.Spans]) -> None:
    spans = split(text)
    assert all(begin < end for begin, end in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    between = [text[a:b] for a, b in zip([0, *(e for _, e in spans)], [*(b for b, _ in spans), len(text)], strict=True)]
    assert not "".join(between).strip()


def test_the_expression() -> None:
    text = "Don't stop: it's well-known, costs 1,000.50... and e\u0301te\u0301!"
    found = [text[begin:end] for begin, end in words.by_expression(text)]
    assert found == [
        "Do", "n't", "stop", ":", "it", "'s", "well", "-", "known", ",", "costs", "1,000.50", "...", "and",
        "e\u0301te\u0301", "!",
    ]  # fmt: skip


@pytest.mark.parametrize("split", [words.split, words.by_expression])
@pytest.mark.parametrize("text", ["!?" * 25_000, "(" * 50_000, "x" * 50_000, "a." * 25_000, "n't" * 15_000, "$" * 199])
def test_no_text_takes_long(text: str, split: Callable[[str], words.Spans]) -> None:
    split("warm up")
    started = time.perf_counter()
    assert split(text)[-1][1] == len(text.rstrip())
    assert time.perf_counter() - started < 3


def test_a_long_run_is_cut_alike_and_its_neighbours_as_ever() -> None:
    run = "!?" * 101
    text = f"It's the U.S. {run} isn't"
    found = words.split(text)
    begin = text.index(run)
    assert [span for span in found if begin <= span[0] < begin + len(run)] == [
        (begin + a, begin + b) for a, b in words.by_expression(run)
    ]
    assert found[: len(words.split(text[:begin]))] == words.split(text[:begin])
    assert [text[a:b] for a, b in found[-2:]] == ["is", "n't"]


def test_without_spacy(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name == "spacy":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "spacy", raising=False)
    monkeypatch.setattr(builtins, "__import__", absent)
    words._rules.cache_clear()
    try:
        assert "not installed" in words.splitter()
        assert words.split("U.S. cats") == words.by_expression("U.S. cats")
    finally:
        monkeypatch.undo()
        words._rules.cache_clear()


def test_with_spacy() -> None:
    spacy = pytest.importorskip("spacy")
    assert words.splitter() == f"spaCy {spacy.__version__}, English"
    text = "Don't go to the U.S.  (e.g. by car) :-)"
    theirs = [word.text for word in spacy.blank("en")(text) if not word.is_space]
    assert [text[begin:end] for begin, end in words.split(text)] == theirs


@pytest.mark.parametrize("family", ["elmo", "ulmfit"])
def test_check_says_which_rules_cut_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without spaCy, answers of these families may be others: who checks a checkpoint is told."""
    builder = importlib.import_module(f"tests.published.{family}")
    folder = builder.repository(tmp_path / "model", {"elmo": "nli", "ulmfit": "learner classifier"}[family])
    for said in (words.splitter(), "a regular expression"):
        assert main(["check", str(folder)]) == 0
        assert f"note: words are cut by {said}" in capsys.readouterr().out
        monkeypatch.setitem(sys.modules, "spacy", None)
        words._rules.cache_clear()
    words._rules.cache_clear()
