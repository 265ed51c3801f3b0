"""The HTML of results, as strings."""

from __future__ import annotations

import pytest

from tasks.results import Result, Score, Span, Truncation
from tasks.tabs import saved, views
from tasks.tabs.common import choice, chosen, menu
from tasks.tabs.examples import EXAMPLES
from zoo import catalog
from zoo.errors import UnknownModel

PASSAGE = "Rome is old. Rome is in Italy."


@pytest.mark.parametrize("character", list("<>&\"'$`\\{}"))
def test_esc_leaves_nothing_that_could_be_code(character):
    assert character not in views.esc(character).replace("&", "", 1) or character == "&"
    assert views.esc(character).startswith("&")


def test_bars_carry_names_and_numbers():
    shown = views.bars((Score("yes", 0.934), Score("no", 0.066)))
    assert "yes" in shown
    assert "93.4%" in shown
    assert "6.6%" in shown


def test_only_the_best_of_overlapping_spans_is_marked():
    spans = (Span("Italy", 24, 29, 0.8), Span("in Italy", 21, 29, 0.1), Span("Rome", 0, 4, 0.05))
    shown = views.passage(PASSAGE, spans, answered=True)
    assert shown.count("<mark>") == 1
    assert "<mark>Italy</mark>" in shown
    assert '<mark class="mz-faint">Rome</mark>' in shown
    assert "<mark>" not in views.passage(PASSAGE, spans, answered=False)


def test_a_long_passage_is_cut_out_around_the_answer():
    long = "a " * 5_000 + "Rome" + " b" * 5_000
    shown = views.passage(long, (Span("Rome", 10_000, 10_004, 1.0),), answered=True)
    assert "<mark>Rome</mark>" in shown
    assert shown.count("…") == 2
    assert len(shown) < 3_000
    assert len(views.passage(long, (), answered=False)) < 3_000


def test_truncation_shows_the_part_that_was_not_read():
    made = Result("classify", "m", "r", "x", "Very likely: x.", truncated=Truncation("text", 2, 3, 8))
    shown = views.result(made, "", {"text": "one two three"})
    assert "Only the first 2 of 3 tokens of the text were read." in shown
    assert "three" in shown
    assert "one two" not in shown


def test_timings_read_like_a_sentence():
    made = Result("nli", "m", "r", "x", "x", timings={"load": 1.23, "forward": 0.034, "decode": 1e-6, "total": 1.3})
    assert views.timings(made) == "load 1.2 s · forward 34 ms · total 1.3 s"


@pytest.mark.parametrize("task", EXAMPLES)
def test_the_menu_starts_with_an_embedded_model_and_each_value_means_one(task):
    values = [value for _, value in menu(task)]
    assert len(set(values)) == len(values)
    assert catalog.by_task(task)[0].embedded
    for value in values:
        model, head = chosen(task, value)
        row = catalog.get(model)
        assert value == choice(row, task, head or row.tasks[task][0])


@pytest.mark.parametrize("value", [None, "", "#", "nothing", "/etc/passwd", "bert-base-uncased"])
def test_a_value_that_the_menu_does_not_have_is_refused(value):
    with pytest.raises(UnknownModel):
        chosen("nli", value)


def test_every_example_has_a_saved_result_of_its_own_model():
    results = saved.read()
    for task, examples in EXAMPLES.items():
        assert set(results[task]) == {example.name for example in examples}
        assert all(made.model == catalog.by_task(task)[0].name for made in results[task].values())


def test_examples_say_what_to_look_for():
    for task, examples in EXAMPLES.items():
        assert len({example.name for example in examples}) == len(examples)
        for example in examples:
            assert example.hint
            assert len(example.look_for) > 20, (task, example.name)
