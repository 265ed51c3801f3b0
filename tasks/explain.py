"""Why an answer, for every task alike: which words speak for it, and what the answer would be without them.

Everything is computed on demand from the same inputs as the answer; nothing is remembered between two calls.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks import TASKS
from tasks.checks import head_of, text_of
from tasks.results import Result
from tasks.summarize import PROMPT
from zoo.engine.words import METHODS, Attribution, Method, Word, words
from zoo.errors import BadParameter, Unsupported, did_you_mean

if TYPE_CHECKING:
    from zoo.engine import Engine

MOST_REDUCED = 40  # words of a text that is reduced: each step reads it once for every word that is left
MASKS = ("[MASK]", "<mask>")  # as vocabularies spell a hidden word
HIDDEN = "…"  # where a vocabulary has none


@dataclass(frozen=True)
class Why:
    """The words that speak for an answer.

    `explained` is what they speak for: a label, a part of the passage, a token of a summary. `texts` are the fields by
    name, in the order of `attribution.texts`; `token` counts the tokens of a summary from 0.
    """

    result: Result
    explained: str
    texts: Mapping[str, str]
    attribution: Attribution
    seconds: float
    token: int = 0

    def ranked(self) -> list[tuple[str, Word]]:
        """(field, word), the strongest in favour first."""
        fields = zip(self.texts, self.attribution.texts, strict=True)
        return sorted(((field, word) for field, of in fields for word in of), key=lambda pair: -pair[1].score)


def method_of(name: str) -> Method:
    """The method of that name. Raises BadParameter."""
    found = [method for method in METHODS if method == name]
    if not found:
        near = did_you_mean(str(name), METHODS)
        raise BadParameter(f"{name!r} is no method.{near} Choose from {', '.join(METHODS)}.")
    return found[0]


def why(
    engine: Engine,
    task: str,
    model: str,
    texts: Sequence[str],
    head: str | None = None,
    method: str = METHODS[0],
    token: int = 0,
    **options: Any,
) -> Why:
    """Answer, and say which words speak for the answer; `options` are those of the task.

    Of a summary the token of that number is explained; of a question without an answer, the best part of the passage
    nevertheless. Raises what the task raises, and BadParameter for methods and tokens that are not there.
    """
    from zoo.engine import reasons  # needs torch

    chosen = method_of(method)
    result = TASKS[task].run(engine, model, *texts, head=head, **options)
    asked = head_of(model, task, head)
    started = time.perf_counter()
    named = dict(zip(TASKS[task].fields, map(text_of, texts, TASKS[task].fields), strict=True))
    given = tuple(named.values())
    if task == "summarize":
        return _why_token(engine, result, given[0], asked, chosen, token, started, options)
    if task == "qa":
        if not result.spans:
            raise BadParameter("The model found no part of the passage that could be an answer: nothing to explain.")
        best = result.spans[0]
        made = reasons.of_span(engine, model, asked, given[0], given[1], (best.start, best.end), chosen)
        return Why(result, best.text, named, made, time.perf_counter() - started)
    label = _label(engine, model, asked, result.answer)
    pair = (given[0], given[1] if len(given) > 1 else None)
    made = reasons.of_label(engine, model, asked, pair, label, chosen)
    return Why(result, result.answer, named, made, time.perf_counter() - started)


def _label(engine: Engine, model: str, head: str | None, answer: str) -> str:
    """The label as the checkpoint spells it."""
    loaded = engine.model(model)
    labels = loaded.heads[loaded.head("classifier", head)].labels
    return next(label for label in labels if label.lower() == answer.lower())


def _why_token(
    engine: Engine,
    result: Result,
    text: str,
    head: str | None,
    method: Method,
    token: int,
    started: float,
    options: Mapping[str, Any],
) -> Why:
    from zoo.engine import reasons  # needs torch

    if not 0 <= token < len(result.pieces):
        count = len(result.pieces)
        raise BadParameter(f"The summary has {count} tokens, counted from 0; {token} is not one of them.")
    said = [piece.id for piece in result.pieces]
    prompt = str(options.get("prompt", PROMPT)).strip()
    most = int(options.get("max_new_tokens", 60))
    made = reasons.of_next(
        engine, result.model, head, text.rstrip(), f"\n{prompt}", said[:token], said[token], method, most
    )
    texts = {"text": text.rstrip(), "prompt": f"\n{prompt}"}
    return Why(result, result.pieces[token].text, texts, made, time.perf_counter() - started, token)


@dataclass(frozen=True)
class WhatIf:
    """An answer, and the answer to a text of which one word was changed."""

    before: Result
    after: Result
    field: str
    number: int
    word: str
    changed: str  # the whole text after the change


def what_if(
    engine: Engine,
    task: str,
    model: str,
    texts: Sequence[str],
    field: str,
    number: int,
    by: str | None,
    head: str | None = None,
    **options: Any,
) -> WhatIf:
    """Change one word, counted from 0 as in `words`, and answer again: `by` another text, "" to delete it, None to
    put the model's own sign for a hidden word in its place.

    Raises BadParameter for fields and words that are not there.
    """
    fields = TASKS[task].fields
    if field not in fields:
        raise BadParameter(f"{task} has no field {field!r}; its fields are {', '.join(fields)}.")
    given = [text_of(text, name) for text, name in zip(texts, fields, strict=True)]
    place = fields.index(field)
    there = words(given[place])
    if not 0 <= number < len(there):
        raise BadParameter(f"The {field} has {len(there)} words; there is none of number {number}.")
    start, end = there[number]
    hidden = mask_of(engine, model) if by is None else by
    changed = list(given)
    changed[place] = replaced_word(given[place], start, end, hidden)
    run = TASKS[task].run
    before = run(engine, model, *given, head=head, **options)
    after = run(engine, model, *changed, head=head, **options)
    return WhatIf(before, after, field, number, given[place][start:end], changed[place])


def mask_of(engine: Engine, model: str) -> str:
    """How a model's vocabulary spells a hidden word, or an ellipsis where it has no such word."""
    tokenizer = engine.model(model).tokenizer
    for mask in MASKS:
        pieces = tokenizer.pieces(mask)
        if len(pieces) == 1 and isinstance(pieces.ids[0], int) and tokenizer.token(pieces.ids[0]) == mask:
            return mask
    return HIDDEN


def replaced_word(text: str, start: int, end: int, by: str) -> str:
    """The text with text[start:end] replaced; a deleted word takes one of two spaces around it along."""
    before, after = text[:start], text[end:]
    if not by and (not before or before[-1].isspace()) and after[:1].isspace():
        after = after[1:]
    return before + by + after


@dataclass(frozen=True)
class Reduced:
    """The least words that get the same answer (Feng et al. 2018, "Pathologies of Neural Models ...").

    `removed` are the words in the order in which they went.
    """

    answer: str
    before: str
    after: str
    removed: tuple[str, ...]
    probability: float


def reduce_input(
    engine: Engine, task: str, model: str, texts: Sequence[str], field: str, head: str | None = None
) -> Reduced:
    """Take words out of a field one by one, each time the one without which the model is surest of its answer, as long
    as the answer stays.

    Raises Unsupported for tasks without a certainty to go by, BadParameter for more than MOST_REDUCED words.
    """
    many = TASKS[task].many
    if many is None or task == "qa":
        raise Unsupported(f"Words are taken out of classified texts and pairs, not for {task}.")
    fields = TASKS[task].fields
    if field not in fields:
        raise BadParameter(f"{task} has no field {field!r}; its fields are {', '.join(fields)}.")
    given = [text_of(text, name) for text, name in zip(texts, fields, strict=True)]
    place = fields.index(field)
    text, removed = given[place], []
    if len(words(text)) > MOST_REDUCED:
        raise BadParameter(
            f"The {field} has {len(words(text))} words; a text of at most {MOST_REDUCED} is reduced. Shorten it."
        )

    def ask(variants: Sequence[str]) -> list[Result]:
        rows = [[*given[:place], variant, *given[place + 1 :]] for variant in variants]
        return many(engine, model, [row[0] if len(row) == 1 else tuple(row) for row in rows], head)

    answer, chance = (lambda first: (first.answer, first.scores[0].score))(ask([text])[0])
    while len(there := words(text)) > 1:
        shorter = [replaced_word(text, start, end, "").strip() for start, end in there]
        best = max(
            ((made.scores[0].score, i) for i, made in enumerate(ask(shorter)) if made.answer == answer),
            default=None,
        )
        if best is None:
            break
        chance, number = best
        removed.append(text[slice(*there[number])])
        text = shorter[number]
    return Reduced(answer, given[place], text, tuple(removed), chance)


def another_word(text: str, but: int, chance: random.Random) -> int:
    """The number of a random word of a text that is not the one of number `but`."""
    return chance.choice([number for number in range(len(words(text))) if number != but])
