"""The benchmark of loading, at tiny sizes: it runs, and prints what it promises. Nothing is said of how fast it is."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from huggingface_hub.utils import are_progress_bars_disabled

from zoo import catalog
from zoo.__main__ import main
from zoo.bench import aims, apart, decode, encoder, kept, limits, load, race, serve
from zoo.bench.fullsize import MODELS, FullSize
from zoo.bench.ours import minilm_files
from zoo.engine import Engine
from zoo.errors import BadParameter
from zoo.layers.short_texts import NEEDS


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command measures tiny stand-ins."""
    full = FullSize.write
    monkeypatch.setattr(FullSize, "write", lambda self, folder, tiny=False: full(self, folder, tiny=True))
    yield


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Figures and ratios, for people and for programs."""
    assert main(["bench", "load", "--model", "bert-base", "--rounds", "1"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("BERT-base, medians of 1 rounds:")
    assert all(f"  {name} " in text for name in load.PROGRAMS)
    assert "ratio, read" in text
    assert "promised: 1.2" in text
    assert main(["bench", "load", "--model", "gpt2", "--rounds", "1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (row,) = said["models"]
    assert row["model"] == "GPT-2"
    assert set(row["medians"]) == set(load.PROGRAMS)
    for kind in ("read", "mapped"):
        assert set(row["ratios"][kind]) == {"seconds", "processor", "mebibytes"}
        ours, floor = row["medians"][f"ours, {kind}"], row["medians"][f"floor, {kind}"]
        assert all(row["ratios"][kind][unit] == ours[unit] / floor[unit] for unit in ours)
        assert all(value > 0 for value in [*ours.values(), *floor.values()])


def test_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, word in ((["--model", "llama"], "bert-base"), (["--model", "gpt2", "--rounds", "0"], "at least 1")):
        assert main(["bench", "load", *arguments]) == 2
        assert word in capsys.readouterr().err
    with pytest.raises(BadParameter):
        load.measure("", 1)


def test_a_program_that_fails_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="failed"):
        load._run("\nraise SystemExit(3)", str(tmp_path))


@pytest.mark.parametrize("name", load.models())
def test_stand_ins_load(tmp_path: Path, name: str) -> None:
    """Every published name finds its place, and the vocabulary has as many pieces as the config says."""
    from zoo.opening import load as open_model

    MODELS[name].write(tmp_path, tiny=True)
    model = open_model(tmp_path)
    assert model.tokenizer.vocabulary == model.family.vocabulary(model.config)
    assert model.tokenizer.pieces("abc bad").ids


@pytest.mark.parametrize(
    ("name", "row"), [("bert-base", "bert-base-uncased"), ("gpt2", "gpt2"), ("xlnet-base", "xlnet-base-cased")]
)
def test_full_sizes_are_the_published_ones(name: str, row: str) -> None:
    """In megabytes of float32, as the catalog has them of the files on the Hub."""
    shapes = MODELS[name].shapes(MODELS[name].config).values()
    assert round(4 * sum(map(math.prod, shapes)) / 1e6) == catalog.get(row).megabytes


@pytest.mark.slow
def test_encoder_beside_its_peers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every runner is measured on every piece of work and computes the same numbers."""
    pytest.importorskip("transformers")
    monkeypatch.undo()  # with ONNX Runtime, where it is installed
    assert main(["bench", "encoder", "--tiny", "--rounds", "1", "--csv", str(tmp_path / "figures.csv")]) == 0
    assert not are_progress_bars_disabled(), "a peer is opened quietly, and downloads go on showing theirs"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("products, ")
    header, _, *rows = lines[2:]
    assert "| transformers sdpa |" in header
    assert "ours exact" in header
    limit = next(number for number, row in enumerate(rows) if row.startswith("| of what this machine can do at most |"))
    for part in (rows[:limit], rows[limit:]):
        assert len([row for row in part if row.startswith("| BERT-base, ")]) == 2
        assert len([row for row in part if row.startswith("| MiniLM, ")]) == (2 if minilm_files() else 0)
    with (tmp_path / "figures.csv").open(encoding="utf-8") as file:
        figures = list(csv.DictReader(file))
    assert {one["runner"] for one in figures if one["work"] == figures[0]["work"]} <= set(
        header.strip("| ").split(" | ")
    )
    for one in figures:
        runner = one["runner"].removesuffix(" or ONNX Runtime")
        exact = not runner.endswith((" bf16", " int8", " fast", " small"))
        rounded = one["work"].startswith("MiniLM") and runner.endswith((" int8", " small"))  # numbers up to 6
        if runner.startswith("ours") or not rounded:
            assert float(one["worst_difference"]) <= (1e-5 if exact else 0.5 if rounded else 5e-2), one


@pytest.mark.slow
def test_everything_in_a_minute(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """All benchmarks run at toy sizes, with or without peers, and every aim on what is measured has its row."""
    path = tmp_path / "aims.csv"
    assert main(["bench", "all", "--tiny", "--rounds", "1", "--visitors", "4", "--aims", str(path)]) == 0
    (run,) = aims.read(path).values()
    assert run and all(row.gain is None or row.gain > 0 for row in run)
    said = capsys.readouterr().out
    assert "4 visitors, " in said and ", 0 errors" in said
    for work in ("biLSTM of ELMo", "AWD-LSTM", "4 visitors, mixed tasks", "TL;DR of gpt-mini"):
        assert f"| {work}" in said
    if importlib.util.find_spec("transformers"):
        for work in ("BERT-base, 6 texts", "GPT-2 124M, 1 x (8 + 4)", "XLNet-base, 8 tokens"):
            assert f"| {work}" in said


def test_layouts_and_their_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "layouts.png"
    assert main(["bench", "layouts", "--tiny", "--rounds", "2", "--plot", str(picture)]) == 0
    said = capsys.readouterr().out
    assert "| 2 matrices of 64 x 64, 1 rows | 1.00 (" in said
    assert "| F.linear |" in said
    assert "| writing, GPT-2 124M, 2 x (4 + 2) tokens | 1.00 (" in said
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_short_texts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # with ONNX Runtime, where it is installed
    assert main(["bench", "short", "--tiny", "--rounds", "1"]) == 0
    said = capsys.readouterr().out
    assert "| BERT-base, 12 x 1 text of 6 to 16 tokens | 1.00 (" in said and "| bert-mini, 12 x 1 text" in said
    there = "| ours exact by ONNX Runtime |" in said
    assert there != ("Not installed: onnx" in said)
    assert there == all(importlib.util.find_spec(name) for name in NEEDS)


def test_a_peer_in_a_process_of_its_own(tmp_path: Path) -> None:
    process = apart.Apart(a_peer, tmp_path)
    assert process.names == ["sum", "fail"]
    add = apart.Run(process, "sum", ([1, 2, 3],))
    assert add() == (6, str(tmp_path))
    assert 0 < add.seconds() < 10
    (seconds,) = race.race({"sum": add}, 1)["sum"]
    assert seconds > 0
    with pytest.raises(RuntimeError, match="ValueError: no"):
        apart.Run(process, "fail", ())()
    with pytest.raises((RuntimeError, OSError)):
        add()
    process.close()
    assert not process._process.is_alive()
    with pytest.raises(RuntimeError, match="KeyError: 'nothing'"):
        apart.Apart(no_peer, tmp_path)


def test_a_race_goes_on_as_long_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a clock that moves on by a second each time it is asked, so that a round takes five seconds with one runner
    and nine with two: two calls of each, the second of which counts."""
    monkeypatch.setattr(race, "time", SimpleNamespace(perf_counter=count().__next__, sleep=lambda seconds: None))
    assert race.race({"ours": int}, 3)["ours"] == [1, 1, 1]
    assert len(race.race({"ours": int}, 3, least=40.0)["ours"]) == 7
    one, two = race.races([{"ours": int}, {"ours": int, "theirs": int}], 3, least=40.0)
    assert (len(one["ours"]), len(two["ours"]), len(two["theirs"])) == (7, 4, 4)
    assert len(race.race({"ours": int}, 3, first_counts=True)["ours"]) == 3


def test_pieces_of_work_take_turns() -> None:
    done: list[str] = []
    short, long = ({name: partial(done.append, f"{work} {name}") for name in ("a", "b")} for work in ("short", "long"))
    seconds = race.races([short, long], 2)
    assert [list(made) for made in seconds] == [["a", "b"]] * 2 and {len(s) for m in seconds for s in m.values()} == {2}
    assert done == ["short a"] * 2 + ["short b"] * 2 + ["long a"] * 2 + ["long b"] * 2 + done[:8] * 2


def test_memory_is_told_in_means_of_a_tenth_of_the_time() -> None:
    assert serve.held([10.0, 20.0, *[30.0] * 2, 40.0, 42.0, *[50.0] * 12, 60.0, 70.0]) == (15, 41, 65)
    assert serve.held([7.0]) == (7, 7, 7)


def test_one_after_another_asks_all_kinds_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some kinds take ten times as long as others: a round that is not whole is another mix than that of many."""
    numbers: list[int] = []
    monkeypatch.setattr(serve, "ask", lambda engine, number: numbers.append(number))
    monkeypatch.setattr(serve, "time", SimpleNamespace(perf_counter=lambda: 0.5 * len(numbers)))
    assert serve.one_after_another(Engine(), 10.0, 1000) == 2.0
    assert numbers == list(range(1000, 1000 + 2 * len(serve.PAIRS)))
    assert {[serve.asked(number) for number in numbers].count(pair) for pair in serve.PAIRS} == {2}


def a_peer(folder: Path) -> dict[str, Callable[..., object]]:
    def fail() -> None:
        raise ValueError("no")

    return {"sum": lambda numbers: (sum(numbers), str(folder)), "fail": fail}


def no_peer(folder: Path) -> dict[str, Callable[..., object]]:
    return {}["nothing"]


def test_a_verdict_is_on_the_ratio_of_two_runners() -> None:
    seconds = {"transformers": [2.0, 4.0], "CTranslate2": [1.0, 2.0], "ours exact": [0.5, 1.1]}
    made = aims.verdicts([race.Result("GPT-2 124M, 1 x (256 + 64) tokens", "transformers", seconds, {})])
    assert [(row.peer, row.found) for row in made] == [
        ("transformers", "3.82"),
        ("CTranslate2", "1.91"),
        ("CTranslate2 int8", "not measured"),
    ]
    assert [row.gain and round(row.gain, 2) for row in made] == [1.47, 1.27, None]
    padded = {f"{name}, sorted": [time] for name, time in (("transformers sdpa", 3.0), ("OpenVINO", 2.0))}
    (row, *_) = aims.verdicts([race.Result("BERT-base, 256 texts", "", padded | {"ours exact": [1.0]}, {})])
    assert (row.peer, row.found) == ("the fastest, sorted", "2.00 (OpenVINO)")


@pytest.mark.parametrize(
    ("gains", "word"),
    [
        ([0.5], "no"),
        ([0.90], "no"),
        ([0.91], "about"),
        ([1.10], "about"),
        ([1.11], "yes"),
        ([0.7, 1.6], "about"),
        ([0.94] * 2, "about"),
        ([0.94] * 4, "no"),
        ([1.06] * 4, "yes"),
        ([1.25, 0.8] * 20, "about"),
        ([], "-"),
    ],
)
def test_the_more_runs_the_nearer_to_an_aim_something_is_decided(gains: list[float], word: str) -> None:
    """One run may be off by a tenth."""
    assert aims.decided(gains) == word


def test_how_much_a_run_is_off_is_taken_from_all_rows() -> None:
    """Each around its own mean, in logarithms; a row of one run, and what was not measured, tell nothing."""

    def rows(a: float, b: float | None) -> list[aims.Verdict]:
        return [aims.Verdict("a", "p", "1", "", a), aims.Verdict("b", "p", "1", "", b)]

    assert aims.noise([]) == aims.noise([rows(0.3, 7.0)]) == aims.NOISE
    assert aims.noise([rows(2.0, 7.0), rows(2.0 * math.e, None)]) == pytest.approx(0.5**0.5)
    assert aims.noise([rows(2.0, 7.0), rows(2.0 * math.e, 7.0)]) == pytest.approx(0.5)


def test_verdicts_of_several_runs_are_on_their_mean(tmp_path: Path) -> None:
    """A file of them grows by a run at a time; a work that only an older run has seen is not told."""
    path = tmp_path / "aims.csv"
    first = [aims.Verdict("a", "p", "2 times", "1.2", 0.6), aims.Verdict("old", "p", "2 times", "3", 1.5)]
    second = [aims.Verdict("a", "p", "2 times", "3.4", 1.7), aims.Verdict("b, new", "p", "1", "not measured", None)]
    assert aims.read(path) == {}
    aims.write(path, runs := {"Monday": first, "Tuesday": second})
    assert aims.read(path) == runs
    said = aims.table(list(runs.values())).splitlines()[2:]
    assert said[:2] == ["| a | p | 2 times | 1.2; 3.4 | about |", "| b, new | p | 1 | not measured | - |"]
    assert said[2:5] == ["", "Of 2 verdicts this run changed 1.", "a, beside p: no before, now about"]
    assert said[5:] == ["", "1 of 2 were not measured, for want of a peer: do not keep this run."]
    again = [first, second, [aims.Verdict("a", "p", "2 times", "2.8", 1.4)]]
    assert aims.table(again).splitlines()[-1] == "Of 1 verdicts this run changed 0."
    assert aims.table([first]).splitlines()[-1] == "| old | p | 2 times | 3 | yes |"  # the first one changes nothing


def test_readme_shows_the_runs_that_are_kept() -> None:
    assert kept.README.read_text(encoding="utf-8") == kept.page(), "python -m zoo bench verdicts --save"


def test_machines_stand_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with the mean over its own runs; a row that one has not measured is told of the other."""
    a = [aims.Verdict("a", "p", "2 times", f"{found} (the fastest)", found / 2) for found in (1.25, 2.75, 6.0)]
    b = aims.Verdict("b", "p", "60 %", "34% of 26 GB/s: 322 tokens a second", 0.57)
    none = aims.Verdict("c", "p", "1", "not measured", None)
    aims.write(tmp_path / "One-Kind.csv", {"Monday": [a[0], none], "Tuesday": [a[1], none]})
    aims.write(tmp_path / "Two.csv", {"Sunday": [a[2], b]})
    monkeypatch.setattr("zoo.bench.kept.FOLDER", tmp_path)
    monkeypatch.setattr("zoo.bench.kept.README", page := tmp_path / "README.md")
    page.write_text(f"before\n{kept.BEGIN}\nold\n{kept.END}\n", encoding="utf-8")
    assert main(["bench", "verdicts"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "| work | peer | aim | One Kind, 2 runs | reached | Two, 1 run | reached |"
    assert said[2:] == [
        "| a | p | 2 times | 2.00 (1.25 to 2.75) | about | 6.0 | yes |",
        "| c | p | 1 | - | - | - | - |",
        "| b | p | 60 % | - | - | 34% | no |",
    ]
    assert "old" in page.read_text(encoding="utf-8")
    assert main(["bench", "verdicts", "--save"]) == 0
    assert page.read_text(encoding="utf-8") == "\n".join(["before", kept.BEGIN, *said, kept.END, ""])
    for path in tmp_path.glob("*.csv"):
        path.unlink()
    assert main(["bench", "verdicts"]) == 2
    assert "has no runs of bench all" in capsys.readouterr().err


def test_a_file_that_cannot_be_used_is_named_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "aims.csv"
    path.write_text("work,runner\nx,y\n", encoding="utf-8")
    assert main(["bench", "all", "--aims", str(path)]) == 2
    assert "aims.csv is no file of --aims" in capsys.readouterr().err
    assert main(["bench", "all", "--csv", str(tmp_path / "nowhere" / "figures.csv")]) == 2
    assert "name a file in a folder that there is" in capsys.readouterr().err


def test_a_ratio_is_that_of_the_same_round() -> None:
    """Of a machine that became slower all the time."""
    made = race.Result("w", "peer", {"peer": [1.0, 2.0, 9.0], "ours": [0.5, 1.0, 3.0]}, {})
    assert made.ratio("ours") == 2.0
    assert made.spread("ours") == (2.0, 3.0)
    assert "| w | 1.00 (2000 ms) | 2.00 (2.00 to 3.00) |" in race.table([made])


def test_shares_of_the_limits_are_those_of_the_work() -> None:
    """BERT-base over one text of 100 tokens, and GPT-2 over a prompt of 10 with 3 new ones."""
    most = limits.Limits({"exact": 100.0, "small": 400.0}, 20.0)
    assert most.computing("small", 8e11) == 2.0 and most.reading("small", 4e10) == 2.0
    assert most.reading("exact", 4e10) == 8.0
    width, layers = 768, 12
    bert_base = SimpleNamespace(
        config=SimpleNamespace(num_hidden_layers=layers, hidden_size=width, intermediate_size=4 * width)
    )
    operations = 2 * 12 * layers * width**2 * 100 + 4 * layers * width * 100**2
    assert encoder.least(cast(Any, bert_base), [100], "exact", most) == pytest.approx(operations / 1e11)
    gpt2 = SimpleNamespace(config=SimpleNamespace(n_layer=layers, n_embd=width, n_inner=None, vocab_size=50257))
    blocks = 12 * layers * width**2
    wanted = 2 * blocks * 10 / 1e11 + 2 * 4 * (blocks + 50257 * width) / 20e9
    assert decode.least(cast(Any, gpt2), 10, 3, "exact", most) == pytest.approx(wanted)
    seconds = {"peer": [9.0], "ours exact": [4.0], "ours small": [2.0]}
    made = race.Result("w", "peer", seconds, {}, lambda kind, most: most.computing(kind, 2e11))
    assert made.shares(most) == {"exact": 0.5, "small": 0.25}
    assert race.shares([made], most).splitlines()[-1] == "| w | 50% | 25% |"
    assert race.shares([race.Result("w", "peer", seconds, {})], most) == ""
