"""The parity table: what was kept is exact, covers every family, and is what README.md shows; how rows become lines."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from zoo import catalog, parity
from zoo.__main__ import main
from zoo.errors import BadData, MissingPackage, Unsupported
from zoo.pages import between_markers

NAN = float("nan")


def row(family="bert", compared="hidden", worst=1e-6, reference="transformers 5", shapes=4, numbers=10):
    return {
        "family": family, "compared": compared, "reference": reference, "shapes": shapes, "numbers": numbers,
        "worst": worst,
    }  # fmt: skip


def test_every_kept_row_is_exact():
    rows = parity.read()
    assert rows
    assert parity.over(rows) == []
    assert all(set(one) == set(parity.FIELDS) and one["numbers"] > 0 and one["shapes"] > 0 for one in rows)
    assert parity.kept()["limit"] == parity.LIMIT == 1e-5
    assert set(parity.kept()["references"]) == {one["reference"] for one in rows} - {parity.ITSELF}


@pytest.mark.parametrize("family", [family.name for family in catalog.FAMILIES])
def test_every_family_was_held_against_a_reference(family):
    found = parity.summary(family, parity.read())
    assert found is not None, f"{family}: nothing kept; run `python -m zoo parity --save`"
    assert found.exact
    assert found.heads, f"{family}: no head was compared"


def test_no_family_of_the_table_is_unknown():
    assert {one["family"] for one in parity.read()} <= {family.name for family in catalog.FAMILIES}


def test_the_readme_shows_what_is_kept():
    assert parity.README.read_text(encoding="utf-8") == parity.page()


def test_lines_are_by_head_and_reference_in_the_order_of_the_catalog():
    first, second = (family.name for family in catalog.FAMILIES[:2])
    made = parity.lines(
        [
            row(second, "span from text"),
            row(first, "cached against full", 3e-6, parity.ITSELF),
            row(first, "span", 1e-7, shapes=2, numbers=5),
            row(first, "span from text", 2e-6, shapes=3, numbers=6),
            row(first, "alone or together", 4e-6, parity.ITSELF),
            row(first, "spanish"),
            row(first, "span", 3e-7, "a fixture"),
            row(first, "attention", NAN),
            row(first, "token ids", 0.0),
        ]
    )
    assert [(line.family, line.part, line.reference) for line in made] == [
        (first, "token ids and offsets", "transformers 5"),
        (first, "layers", "transformers 5"),
        (first, "span", "a fixture"),
        (first, "span", "transformers 5"),
        (first, "its own ways", parity.ITSELF),
        (second, "span", "transformers 5"),
    ]
    assert (made[3].comparisons, made[3].shapes, made[3].numbers, made[3].worst) == (2, 3, 11, 2e-6)
    assert made[4].worst == 4e-6
    assert not made[1].exact, "a NaN among the rows must not hide behind a number"


def test_a_summary_leaves_out_what_was_only_compared_with_itself():
    span = row(compared="span", worst=9.9e-6, reference="B", shapes=7)
    rows = [row(worst=2e-6), span, row(worst=1, reference="itself")]
    found = parity.summary("bert", rows)
    assert str(found) == "exact, worst difference 9.9e-06 from B and transformers 5 (layers, 1 head, 7 shapes)"
    assert str(parity.summary("bert", [row(worst=1.1e-5)])).startswith("not exact")
    assert parity.summary("bert", [row(reference="itself")]) is None


def test_only_what_stands_between_the_markers_is_replaced():
    assert between_markers("a <b> old <e> c", "new", "<b>", "<e>") == "a <b>\nnew\n<e> c"
    for page in ("", "<b>", "<e> <b>"):
        with pytest.raises(BadData):
            between_markers(page, "new", "<b>", "<e>")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """An empty place to keep the table in, and a README."""
    monkeypatch.setattr(parity, "FILE", tmp_path / "parity.json")
    monkeypatch.setattr(parity, "README", tmp_path / "README.md")
    parity.README.write_text(f"before\n{parity.BEGIN}\n{parity.END}\nafter\n", encoding="utf-8")
    return tmp_path


def test_the_command_keeps_and_shows_what_it_measured(kept, monkeypatch, capsys):
    rows = [row(), row(compared="span", worst=2e-6)]
    monkeypatch.setattr(parity, "measure", lambda: rows)
    assert main(["parity", "--save"]) == 0
    shown = capsys.readouterr().out
    assert parity.read() == rows
    text = parity.README.read_text(encoding="utf-8")
    assert shown.strip() in text
    assert text.startswith("before\n") and text.endswith("after\n")
    monkeypatch.setattr(parity, "measure", lambda: pytest.fail("--saved must not measure"))
    assert main(["parity", "--saved", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == rows


@pytest.mark.parametrize("worst", [1.1e-5, NAN])
def test_a_difference_above_the_limit_is_named_and_not_kept(kept, monkeypatch, capsys, worst):
    monkeypatch.setattr(parity, "measure", lambda: [row(), row(compared="span", worst=worst)])
    assert main(["parity", "--save"]) == 1
    assert capsys.readouterr().err.startswith("bert span: ")
    assert parity.read() == []


def test_without_a_kept_table_there_is_a_sentence(kept, capsys):
    assert main(["parity", "--saved"]) == 2
    assert "python -m zoo parity --save" in capsys.readouterr().err


def test_measuring_needs_the_tests_and_what_they_need(monkeypatch, tmp_path):
    monkeypatch.setattr(parity.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="pytest and transformers"):
        parity.measure()
    monkeypatch.setattr(parity, "ROOT", tmp_path)
    with pytest.raises(Unsupported, match="clone of the whole repository"):
        parity.measure()


@pytest.mark.parametrize(
    ("code", "rows", "fine"),
    [(0, [row()], True), (1, [row(worst=1)], True), (1, [row()], False), (0, [], False), (4, None, False)],
)
def test_tests_that_fail_without_a_difference_are_no_measurement(monkeypatch, code, rows, fine):
    def run(command, **how):
        assert command[:3] == [sys.executable, "-m", "pytest"]
        if rows is not None:
            with open(command[-1], "w", encoding="utf-8") as target:
                json.dump(rows, target)
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(subprocess, "run", run)
    if fine:
        assert parity.measure() == rows
    else:
        with pytest.raises(BadData, match="did not pass"):
            parity.measure()
