"""Pieces of a text as several tokenizers cut it."""

from __future__ import annotations

import pytest

from tasks import tokens
from tests import nets
from zoo import Engine
from zoo.errors import InputEmpty, UnknownModel


def engine_of(**models: str) -> Engine:
    made = {name: nets.FAMILIES[family]() for name, family in models.items()}

    def opened(name: str, progress: bool) -> object:
        if name not in made:
            raise UnknownModel(f"{name} is not here.")
        return made[name]

    return Engine(open_model=opened)  # type: ignore[arg-type]


def test_places_ids_and_unknown_words() -> None:
    text = "The cat sat, unheard."
    words, letters, marked = tokens.cut(engine_of(a="bert", b="elmo", c="ulmfit"), ["a", "b", "c"], text)
    assert [text[one.start : one.end] for one in words.tokens] == ["The", "cat", "sat", ",", "unheard", "."]
    assert [one.unknown for one in words.tokens] == [False, False, False, True, True, False]
    assert (words.count, words.unknown, words.vocabulary) == (6, 2, 21)
    assert all(one.id is None and not one.unknown for one in letters.tokens) and letters.unknown == 0
    assert [one.spelling for one in marked.tokens][:2] == ["xxmaj", "the"]
    assert marked.unknown == 2


def test_a_model_that_cannot_be_had_ends_nothing() -> None:
    gone, here = tokens.cut(engine_of(a="bert"), ["z", "a"], "cat")
    assert gone.error == "z is not here." and here.count == 1


def test_long_texts_are_counted_whole_and_shown_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_SHOWN", 3)
    (made,) = tokens.cut(engine_of(a="bert"), ["a"], "cat " * 9 + "unheard")
    assert (len(made.tokens), made.count, made.unknown) == (3, 10, 1)


def test_nothing_to_cut() -> None:
    with pytest.raises(InputEmpty):
        tokens.cut(engine_of(a="bert"), ["a"], " ")
