"""The HTML of results, as strings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tasks import TASKS
from tasks.results import Result, Score, Span, Truncation
from tasks.tabs import saved, views
from tasks.tabs.examples import EXAMPLES
from tasks.tabs.menus import LANGUAGES, absent, choice, chosen, menu, rows
from zoo import catalog
from zoo.errors import UnknownModel
from zoo.family import Model, Network
from zoo.layers.scalar_mix import ScalarMix
from zoo.models.shelf import FAMILIES
from zoo.weights.keymap import LoadReport

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
    known = replace(made, timings={"total": 0.0004}, tokens=9, cached=True)
    assert views.timings(known) == "total 0.4 ms · known from an earlier request"


@pytest.mark.parametrize("task", EXAMPLES)
def test_the_menu_starts_with_an_embedded_model_and_each_value_means_one(task):
    values = [value for _, value in menu(task)]
    assert len(set(values)) == len(values)
    assert rows(task)[0].embedded
    assert rows(task)[0] == catalog.by_task(task)[0]  # the default of the API, and the one whose results are saved
    for value in values:
        model, head = chosen(task, value)
        row = catalog.get(model)
        assert value == choice(row, task, head or row.tasks[task][0])


@pytest.mark.parametrize("task", TASKS)
def test_the_menu_goes_family_by_family_behind_what_is_ready(task, monkeypatch):
    monkeypatch.setattr(catalog, "CHECKPOINTS", catalog.CHECKPOINTS[::-1])
    order = [family.name for family in catalog.FAMILIES]
    places = [(not row.embedded, 0 if row.embedded else order.index(row.family)) for row in rows(task)]
    assert places == sorted(places)
    ready = [row for row in catalog.by_task(task) if row.embedded]
    assert rows(task)[: len(ready)] == ready
    assert {row.name for row in rows(task)} == {row.name for row in catalog.by_task(task)}
    for label, value in menu(task):
        row = catalog.get(chosen(task, value)[0])
        title, name, *_, size = label.split(" · ")
        assert (title, name) == (catalog.family(row.family).title, row.name)
        assert size == ("ready" if row.embedded else f"{row.megabytes:,} MB")


@pytest.mark.parametrize("task", TASKS)
def test_every_family_answers_a_task_or_says_why_not(task):
    here = {row.family for row in rows(task)}
    reasons = {family.name: why for family, why in absent(task)}
    assert here | reasons.keys() == {family.name for family in catalog.FAMILIES}
    assert not here & reasons.keys()
    for name, why in reasons.items():
        assert why[0].isupper(), (name, why)
        assert why.endswith("."), (name, why)


def test_every_family_says_what_it_is_and_every_language_has_a_name():
    for family in catalog.FAMILIES:
        assert family.about.endswith("."), family.name
    assert {code for row in catalog.CHECKPOINTS for code in row.languages} <= LANGUAGES.keys()


def test_what_is_not_in_a_menu_is_named_with_its_reason():
    shown = views.absent([("BERT", "BERT predicts masked words."), ("X<b>", "It ${cannot}.")])
    assert shown.startswith("<details")
    assert "Not here: <span>BERT</span>, <span>X&lt;b&gt;</span>" in shown
    assert "<li>BERT predicts masked words.</li><li>X&lt;b&gt;: It " in shown
    assert "${" not in shown


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


def test_a_model_tells_how_its_heads_mix_the_layers():
    mix = ScalarMix(3, norm=False)
    with torch.no_grad():
        mix.weights.copy_(torch.tensor([0.0, 1.0, 2.0]))
        mix.gamma.fill_(0.5)
    heads = {"nli": nn.Sequential(mix, nn.Linear(2, 2)), "plain": nn.Linear(2, 2)}
    model = Model("m", FAMILIES[0], None, Network(nn.Identity(), heads), None, {}, "m", "r", LoadReport())
    ((head, shown),) = model.mixes
    assert (head, shown.gamma) == ("nli", 0.5)
    assert shown.weights == pytest.approx((0.0900, 0.2447, 0.6652), abs=1e-4)
