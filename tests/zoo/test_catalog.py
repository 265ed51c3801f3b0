"""Every row of the catalog: loaded once by its own id from a Hub on loopback, through the same code a user runs, and
asked for each of its tasks. The repositories are tiny and random, in the layouts in which the real ones are published.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import TASKS
from tests.conftest import set_up_home
from tests.hub_server import HubServer
from tests.published import rows
from zoo import Engine, catalog, load
from zoo.catalog import CHECKPOINTS, Checkpoint

REMOTE = [row for row in CHECKPOINTS if not row.embedded]
ENGLISH = {
    "summarize": ("The cat sat on the mat and looked at the rain. It did not want to go out.",),
    "nli": ("A cat sleeps on a mat.", "An animal rests."),
    "qa": ("Where does the cat sleep?", "The cat sleeps on the mat near the window, every day."),
    "classify": ("A wonderful film about a cat.",),
}
CHINESE = {
    "summarize": ("猫坐在垫子上看雨。它不想出去。",),
    "nli": ("一只猫睡在垫子上。", "有一只动物在休息。"),
    "qa": ("猫在哪里睡觉？", "每天猫都睡在窗边的垫子上。"),
    "classify": ("这部电影非常好看。",),
}
OPTIONS: dict[str, dict[str, Any]] = {"summarize": {"max_new_tokens": 2}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, hub_server: HubServer) -> Iterator[HubServer]:
    """An empty Hub, and an empty cache."""
    with pytest.MonkeyPatch.context() as patch:
        hub_server.clear()
        set_up_home(patch, tmp_path_factory.mktemp("home"))
        patch.setenv("HF_ENDPOINT", hub_server.url)
        yield hub_server
    hub_server.clear()


@pytest.mark.parametrize("row", REMOTE, ids=lambda row: row.name)
def test_a_row_loads_by_its_own_id_and_answers_its_tasks(served: HubServer, tmp_path: Path, row: Checkpoint) -> None:
    served.publish(row.source, rows.write(row, tmp_path / "published"))
    model = load(row.source)
    assert (model.family.name, model.source) == (row.family, row.source)
    assert model.revision == served.repositories[row.source].refs["main"]
    assert model.name == row.name
    for heads in row.tasks.values():
        assert set(heads) <= set(model.heads), f"the row names heads that the files do not hold: {sorted(model.heads)}"
    engine = Engine(open_model=lambda *_: model)
    texts = CHINESE if row.languages == ("zh",) else ENGLISH
    for task in row.tasks:
        result = TASKS[task].run(engine, row.name, *texts[task], **OPTIONS.get(task, {}))
        assert result.revision == model.revision
        if task in ("nli", "classify"):
            assert abs(sum(score.score for score in result.scores) - 1) < 1e-4
            named = row.labels or rows.labels(row)
            assert not named or {s.label.lower() for s in result.scores} == {label.lower() for label in named}
        if task == "qa":
            assert result.answer in texts["qa"][1]
            assert not result.scores or row.unanswerable
        if task == "summarize":
            assert result.tokens


def test_there_are_many_rows_for_each_task_in_both_languages() -> None:
    assert len(REMOTE) >= 40
    for language in ("en", "zh"):
        able = [row for row in REMOTE if row.tasks and language in row.languages]
        for task in TASKS:
            assert any(task in row.tasks for row in able), f"nothing answers {task} in {language}"


def test_every_row_says_who_made_it_under_which_licence_and_how_large_it_is() -> None:
    for row in CHECKPOINTS:
        assert row.licence and row.about.endswith(".") and row.about.count(". ") == 0, row.name
        assert 0 < row.parameters < 2e9 and row.megabytes > 0 and row.languages, row.name
        assert row.megabytes * 1e6 < 4.6 * row.parameters + 3e6, f"{row.name} is larger than its parameters"
        assert row.paper or catalog.family(row.family).paper
    assert len({row.source for row in CHECKPOINTS}) == len(CHECKPOINTS)


def test_rows_offer_only_tasks_that_their_family_can() -> None:
    for row in CHECKPOINTS:
        assert not set(row.tasks) & set(catalog.family(row.family).cannot), row.name


def test_labels_of_inference_rows_are_words_that_the_task_knows() -> None:
    from tasks.nli import WORDS

    for row in CHECKPOINTS:
        if "nli" in row.tasks and row.labels:
            assert set(row.labels) <= set(WORDS), row.name
            assert sorted(row.labels) in (["contradiction", "entailment", "neutral"], ["entailment", "not_entailment"])
