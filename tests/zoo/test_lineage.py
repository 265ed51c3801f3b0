"""The family graph as data: whole, in order of time, and in step with the catalog."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from zoo import catalog, lineage
from zoo.lineage import SYSTEMS

KEYS = [system.key for system in SYSTEMS]


def test_keys_are_unique_and_time_goes_on():
    assert len(set(KEYS)) == len(KEYS) >= 30
    months = [system.month for system in SYSTEMS]
    assert all(re.fullmatch(r"20[12]\d-(0[1-9]|1[0-2])", month) for month in months)
    assert months == sorted(months)


@pytest.mark.parametrize("system", SYSTEMS, ids=KEYS)
def test_every_parent_stands_before_its_children(system):
    """So that there is no cycle, and no parent is younger."""
    for parent in system.parents:
        assert parent.key in KEYS[: KEYS.index(system.key)], parent.key
        assert lineage.get(parent.key).month <= system.month
    assert len({parent.key for parent in system.parents}) == len(system.parents)


@pytest.mark.parametrize("system", SYSTEMS, ids=KEYS)
def test_everything_is_said(system):
    words = [system.title, system.authors, system.paper, system.idea, *(parent.change for parent in system.parents)]
    assert all(text.strip() == text and text for text in words)
    assert all(text.endswith(".") for text in words[3:])
    assert system.url.startswith("https://")


@pytest.mark.parametrize("system", [s for s in SYSTEMS if "arxiv.org" in s.url], ids=lambda system: system.key)
def test_the_month_is_that_of_the_preprint(system):
    year, month = re.fullmatch(r"https://arxiv\.org/abs/(\d\d)(\d\d)\.\d{4,5}", system.url).groups()
    assert system.month == f"20{year}-{month}"


def test_every_family_of_the_zoo_is_in_it_with_the_same_paper():
    for family in catalog.FAMILIES:
        system = lineage.get(family.name)
        assert system.built
        assert system.title == family.title
        assert system.url == family.url
        assert system.month.startswith(str(family.year))
    assert not lineage.get("word2vec").built


def test_checkpoints_are_of_the_catalog_and_of_one_system():
    named = [name for system in SYSTEMS for name in system.checkpoints]
    assert len(set(named)) == len(named)
    assert set(named) <= set(catalog.names())
    for row in catalog.CHECKPOINTS:
        assert row in lineage.checkpoints(lineage.of(row))
    assert lineage.of(catalog.get("tinybert-4l")).key == "tinybert"
    assert lineage.of(catalog.get("gpt2-medium")).key == "gpt2"
    own = replace(catalog.get("bert-base-mnli"), name="mine", own=True)
    assert lineage.of(own).key == "bert"


def test_children_are_those_who_name_it():
    assert [system.key for system in lineage.children("gpt2")] == ["roberta", "dialogpt", "gpt3"]
    assert lineage.children("gpt3") == []


def test_what_a_checkpoint_is_compared_with_is_above_it_and_answers_a_task_of_its_own() -> None:
    for row in catalog.CHECKPOINTS:
        pair = lineage.beside(row)
        if pair is not None:
            other, task = pair
            assert task in row.tasks and task in other.tasks and other.name != row.name
            assert lineage.of(other).key in above(lineage.of(row).key), row.name
    assert any(lineage.beside(row) for row in catalog.CHECKPOINTS if row.family == "xlnet")


def above(key: str) -> set[str]:
    """The systems that one comes from, near and far."""
    parents = {parent.key for parent in lineage.get(key).parents}
    return parents.union(*(above(parent) for parent in parents))
