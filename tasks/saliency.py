"""How far explanations can be trusted, over a file of rows: whether scores add up, and whether the word that speaks
most for an answer matters more than any other (deletion as in DeYoung et al. 2020, ERASER, with one word).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks import TASKS, explain
from tasks.checks import text_of
from tasks.evaluate import field, first_rows, needs
from zoo.engine.words import METHODS, words
from zoo.errors import BadData, BadParameter

if TYPE_CHECKING:
    from zoo.engine import Engine

ABLE = ("nli", "classify")  # an answer is a label, which changes or not
ENOUGH = 0.05


def measure(
    engine: Engine,
    task: str,
    model: str,
    data: Path,
    head: str | None = None,
    rows: int = 200,
    method: str = METHODS[0],
    seed: int = 0,
    progress: Callable[[int], object] = lambda rows: None,
) -> dict[str, Any]:
    """Explain the answers to the first rows, and take one word out of each: the strongest, or another by chance.

    Gives the error of completeness (median, 95th percentile, share of rows below 5 %; None for occlusion), the share of
    rows whose answer changes without either word, and the p-value of the difference (McNemar's exact test: of the rows
    where one of the two changed the answer, how often it was which). Raises BadParameter, BadData.
    """
    binomtest = needs("scipy", lambda: __import__("scipy.stats", fromlist=["binomtest"])).binomtest
    if task not in ABLE:
        raise BadParameter(f"Answers of {task} are no labels; choose from {', '.join(ABLE)}.")
    chance, errors, flips = random.Random(seed), [], []
    names = TASKS[task].fields
    for index, row in enumerate(first_rows(data, rows)):
        texts = [text_of(field(row, name, index), name) for name in names]
        if sum(len(words(text)) for text in texts) < 2:
            raise BadData(f"Row {index + 1} has less than two words: nothing to compare.")
        made = explain.why(engine, task, model, texts, head, method)
        errors.append(made.attribution.error)
        places = [(name, number) for name, text in zip(names, texts, strict=True) for number in range(len(words(text)))]
        best_field, best_word = made.ranked()[0]
        best = best_field, words(made.texts[best_field]).index((best_word.start, best_word.end))
        other = chance.choice([place for place in places if place != best])
        flips.append([_flips(engine, task, model, head, texts, *place, made.result.answer) for place in (best, other)])
        progress(1)
    top, other_flips = np.array(flips, float).T
    split = [int((top > other_flips).sum()), int((top < other_flips).sum())]
    known = [error for error in errors if error is not None]
    return {
        "task": task,
        "model": model,
        "data": data.name,
        "method": method,
        "rows": len(flips),
        "error_median": round(float(np.median(known)), 4) if known else None,
        "error_95th": round(float(np.quantile(known, 0.95)), 4) if known else None,
        "below_5_percent": round(float(np.mean(np.array(known) < ENOUGH)), 4) if known else None,
        "changed_without_top_word": round(float(top.mean()), 4),
        "changed_without_random_word": round(float(other_flips.mean()), 4),
        "p_value": float(f"{binomtest(split[0], sum(split)).pvalue:.2g}") if sum(split) else 1.0,
    }


def _flips(
    engine: Engine, task: str, model: str, head: str | None, texts: list[str], name: str, number: int, answer: str
) -> bool:
    """Whether the answer is another without that word. A text of which nothing is left has no answer."""
    place = TASKS[task].fields.index(name)
    changed = list(texts)
    changed[place] = explain.replaced_word(texts[place], *words(texts[place])[number], "")
    if not changed[place].strip():
        return True
    return TASKS[task].run(engine, model, *changed, head=head).answer != answer
