"""results.csv: intervals, a file that survives being stopped, cells measured once, tables that say what it holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tasks import cards, figures, measures
from tasks.__main__ import main
from tasks.cards import Kept
from tasks.figures import BASELINE, FLOAT, Figure, interval
from tests import minis, tiny_data
from zoo import catalog
from zoo.contracts import HeadSpec
from zoo.errors import BadData
from zoo.training import heldout

ROW = Figure(
    "bert-mini", "bert", "topic", "AG News test", 100, "accuracy", 90.5, 89.8, 91.1, 23_000_000, 24.1, 12.5, "abc",
    "fed", "def", 0, "2026-01-02", "2-core machine", "python -m tasks eval classify",
)  # fmt: skip
HEADS = {
    "nli": HeadSpec("classifier", ("entailment", "neutral", "contradiction")),
    "topic": HeadSpec("classifier", ("World", "Sports", "Business", "Sci/Tech")),
    "sentiment": HeadSpec("classifier", ("negative", "positive")),
    "qa": HeadSpec("span"),
}


def test_interval_is_that_of_theory_and_the_same_each_time() -> None:
    points = np.array([100.0] * 900 + [0.0] * 100)
    low, high = interval([points], np.mean)
    error = 1.96 * np.sqrt(0.9 * 0.1 / 1000) * 100
    assert low == pytest.approx(90 - error, abs=0.15) and high == pytest.approx(90 + error, abs=0.15)
    assert (low, high) == interval([points], np.mean)
    assert interval([points[:1]], np.mean) == (100, 100)


def test_interval_of_a_ratio_draws_both_of_its_sides_together() -> None:
    size = np.array([10.0, 1000.0, 500.0, 20.0] * 10)
    low, high = interval([2 * size, size], lambda a, b, axis: a.sum(axis) / b.sum(axis))
    assert low == high == 2


def test_rows_come_back_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "results.csv"
    rows = [ROW, replace(ROW, data='with "quotes", commas', milliseconds=0.0)]
    figures.write(rows, path)
    assert figures.read(path) == rows and figures.read(tmp_path / "none.csv") == []
    assert [p.name for p in path.parent.iterdir()] == ["results.csv"]
    path.write_text("model,value\nx,1\n")
    with pytest.raises(BadData, match="no file of figures"):
        figures.read(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("all")
    data = tiny_data.write(root / "data")
    heldout.write(data, root / "heldout")
    bert = minis.bert_checkpoint(root / "bert", HEADS)
    return {"data": data, "heldout": root / "heldout", "bert": bert, "gpt": minis.gpt2_checkpoint(root / "gpt", 256)}


@pytest.fixture(autouse=True)
def everything_is_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As models of full size are; what is written of their weights is of those in the files."""
    for line in ("WORTH_IT", "SMALLEST"):
        monkeypatch.setattr(f"zoo.layers.packed.{line}", 1)


def all_of(folders: dict[str, Path], out: Path, *more: str) -> int:
    data = ["--data", str(folders["data"]), "--heldout", str(folders["heldout"]), "--out", str(out), "--limit", "3"]
    return main(["eval", "--all", *data, *more])


def test_all_models_on_all_tasks_with_baselines(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.csv"
    bert, gpt = str(folders["bert"]), str(folders["gpt"])
    assert all_of(folders, out, "--models", bert, gpt, "baselines") == 0
    rows = figures.read(out)
    assert {row.data for row in rows if row.model == bert} == {
        "AG News test", "SST-2 dev", "SNLI dev", "SNLI test", "SQuAD 1.1 dev, unseen articles",
    }  # fmt: skip
    assert {row.metric for row in rows if row.model == gpt} == {"rouge1", "rouge2", "rougeL", "bits_per_byte"}
    simple = {(row.model.removeprefix(BASELINE), row.task) for row in rows if row.baseline}
    assert {task for _, task in simple} == {"topic", "sentiment", "nli", "qa", "summary", "language"}
    assert all(row.low <= row.value <= row.high and row.rows <= 3 and row.limit == 3 for row in rows)
    assert all((row.milliseconds > 0) == (row.task != "language") for row in rows if not row.baseline)
    mine = next(row for row in rows if row.model == bert)
    assert mine.revision == json.loads((folders["bert"] / "config.json").read_text())["zoo"]["revision"]
    assert mine.command.startswith(f"python -m tasks eval classify --model {bert} --head topic --limit 3 --data DATA/")
    printed = capsys.readouterr().out
    assert "baseline: sliding window" in printed and "Wikipedia leads, ROUGE-1" in printed and "Falls short" in printed


def with_another(folder: Path, part: str) -> None:
    """The checkpoint with other numbers where names begin so, under another revision."""
    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        save_file({n: t + 1 if n.startswith(part) and t.is_floating_point() else t for n, t in tensors.items()}, path)
    config = json.loads((folder / "config.json").read_text())
    config["zoo"]["revision"] = "another"
    (folder / "config.json").write_text(json.dumps(config))


def test_only_what_changed_is_measured_again(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, bert = tmp_path / "results.csv", minis.bert_checkpoint(tmp_path / "bert", HEADS)
    begun: list[str] = []

    def measure(*more: str) -> list[str]:
        begun.clear()
        assert all_of(folders, out, "--models", str(bert), *more) == 0
        return begun.copy()

    run = measures.run

    def watched(asked: measures.Asked, watcher: measures.Watcher) -> Any:
        return run(asked, replace(watcher, begin=lambda title, rows: begun.append(title.partition(": ")[2])))

    monkeypatch.setattr(measures, "run", watched)
    everything = ["AG News test", "SST-2 dev", "SNLI dev", "SNLI test", "SQuAD 1.1 dev, unseen articles"]
    assert measure() == everything
    assert measure() == []
    kept = figures.read(out)
    figures.write([row for row in kept if row.data != "SST-2 dev"], out)  # as after a run that was stopped
    assert measure() == ["SST-2 dev"] and len(figures.read(out)) == len(kept)
    assert measure("--again") == everything
    with_another(bert, "heads.nli.")
    assert measure() == ["SNLI dev", "SNLI test"]
    assert {row.revision for row in figures.read(out)} == {"another"}
    minis.bert_checkpoint(bert, HEADS, seed=1)
    assert measure() == everything
    assert len(figures.read(out)) == len(kept), "old figures of the same cells are gone"


def test_int8_beside_the_weights_before_rounding(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, bert = tmp_path / "results.csv", str(folders["bert"])
    whole = minis.bert_checkpoint(tmp_path / "whole", HEADS, seed=3)
    assert all_of(folders, out, "--models", bert, "--against", str(whole)) == 0
    rows = figures.read(out)
    assert {row.model for row in rows} == {bert, bert + FLOAT}
    printed = capsys.readouterr().out
    assert "| float32 | difference |" in printed and printed.count(bert + FLOAT) == 0
    assert main(["eval", "--all", "--out", str(out)]) == 0  # measures nothing
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "--all", "--limit", "3", "--data", "."], "--limit needs --out"),
        (["eval", "--all", "nli", "--model", "m", "--data", "d"], "leave out 'nli'"),
        (["eval", "--limit", "3", "nli", "--model", "m", "--data", "d"], "come after it"),
        (["eval"], "Name a task"),
        (["eval", "--all", "--models", "bert-mini", "--against", "a", "b"], "a folder for each of the 1 models"),
        (
            ["eval", "--all", "--models", "bert-mini", "--data", ".", "--out", "x.csv"],
            "There is no",
        ),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    seen = capsys.readouterr()
    said = seen.out + seen.err
    assert message in said


def test_bits_from_the_command_line(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "text.txt"
    data.write_text("the cat sat on the mat")
    assert main(["eval", "bits", "--model", str(folders["gpt"]), "--data", str(data)]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["rows"] == 1 and made["metrics"]["bytes"] == 22 and made["metrics"]["bits_per_byte"] > 0


def test_worst_rows_from_the_command_line(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(folders["data"] / "classification" / "ag_news_test.jsonl.gz")
    command = ["eval", "classify", "--model", str(folders["bert"]), "--head", "topic", "--data", data, "--worst", "2"]
    assert main(command) == 0
    made = json.loads(capsys.readouterr().out)
    assert len(made["worst"]) == 2 and all(row["answer"] != row["label"] for row in made["worst"])


def varied(**values: Any) -> Callable[..., Figure]:
    return lambda **more: replace(ROW, **values, **more)


def test_what_falls_short_is_said() -> None:
    simple = varied(model=f"{BASELINE}TF-IDF, logistic regression", value=89.5, low=88.9, high=90.1)
    kept = Kept([ROW, simple(), replace(ROW, model=f"bert-mini{FLOAT}", value=91.2)])
    said = "\n".join(cards.failings(kept))
    assert "90.5 (89.8 to 91.1) on AG News test; the aim is 92.5" in said
    assert "is not better than 89.5 (88.9 to 90.1) of TF-IDF, logistic regression outside the interval" in said
    assert "int8 changes accuracy on AG News test by -0.70 points" in said
    better = Kept([replace(ROW, value=95, low=94, high=96), simple()])
    assert not [line for line in cards.failings(better) if "AG News" in line]


def test_a_card_says_figure_interval_baseline_time_and_command() -> None:
    simple = replace(ROW, model=f"{BASELINE}majority class", value=25, low=24, high=26)
    text = cards.of_card(Kept([ROW, simple]), "bert-mini")
    assert "| AG News test | 100 | accuracy 90.5 (89.8 to 91.1) | 25.0 (24.0 to 26.0), majority class | 12 |" in text
    assert "`python -m tasks eval classify`" in text and "2026-01-02 on a 2-core machine, revision abc" in text


def test_pages_of_shipped_checkpoints_state_results_csv() -> None:
    for path, text in cards.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path} is stale: python -m tasks figures"


def test_results_csv_is_of_the_weights_that_ship() -> None:
    rows = figures.read()
    for row in catalog.CHECKPOINTS:
        if row.embedded and not row.own:
            config = json.loads((catalog.EMBEDDED / row.source / "config.json").read_text(encoding="utf-8"))
            mine = [one for one in rows if one.model == row.name]
            assert mine, f"{row.name} is not measured: python -m tasks eval --all"
            assert {one.revision for one in mine} == {config["zoo"]["revision"]}
            assert row.figures[mine[0].data][mine[0].metric] == mine[0].value
    assert all(one.low <= one.value <= one.high for one in rows)


def test_no_file_of_the_repository_is_over_ten_megabytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sizes"]) == 0
    printed = capsys.readouterr().out
    assert "files over 10 MB: none" in printed and "bert-mini" in printed
