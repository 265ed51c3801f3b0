"""`python -m tasks precision`: a row for each head, in which bf16 and int8 stand beside float32."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks import prices
from tasks.__main__ import main
from tasks.prices import PROSE, Price, farthest, kept, measure, table
from tests import minis, tiny_data
from tests.tasks.test_figures import HEADS
from zoo.engine import precision
from zoo.errors import BadData
from zoo.training import heldout


@pytest.mark.skipif(precision.supported() == ("exact",), reason="this processor has one precision")
def test_every_head_in_every_precision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_data.write(tmp_path / "data")
    heldout.write(data, tmp_path / "heldout")
    bert = str(minis.bert_checkpoint(tmp_path / "bert", HEADS))
    found = measure([bert], data, tmp_path / "heldout", rows=9)
    kinds = precision.supported()
    assert [one.data for one in found[:: len(kinds)]] == [
        "AG News test", "SST-2 dev", "SNLI dev", "SQuAD 1.1 dev, unseen articles",
    ]  # fmt: skip
    for begin in range(0, len(found), len(kinds)):
        exact, *others = found[begin : begin + len(kinds)]
        assert (exact.precision, exact.same, exact.farthest, exact.faster) == ("exact", 1.0, 0.0, 1.0)
        assert [one.precision for one in others] == list(kinds[1:])
        assert all(one.rows == exact.rows and 0 <= one.same <= 1 and 0 <= one.farthest < 0.5 for one in others)
    command = [
        "precision",
        "--models",
        bert,
        "--data",
        str(data),
        "--heldout",
        str(tmp_path / "heldout"),
        "--rows",
        "3",
    ]
    monkeypatch.setattr(precision, "WITHIN", (stated := dict.fromkeys(kinds, 1.0)))  # its weights are random
    monkeypatch.setattr(prices, "WITHIN", stated)
    assert main(command) == 0
    assert "| SNLI dev | 3 |" in capsys.readouterr().out
    stated.update(dict.fromkeys(kinds, -1.0))
    assert main(command) == 1, "more than what is stated"
    with pytest.raises(BadData, match=r"squad_v1\.1_unseen"):
        measure([bert], data, data, rows=3)


@pytest.mark.skipif(precision.supported() == ("exact",), reason="this processor has one precision")
def test_a_language_model_in_every_precision(tmp_path: Path) -> None:
    data = tiny_data.write(tmp_path / "data")
    heldout.write(data, tmp_path / "heldout")
    found = measure([str(minis.gpt2_checkpoint(tmp_path / "gpt"))], data, tmp_path / "heldout", rows=3)
    assert [one.precision for one in found] == list(precision.supported())
    assert {one.data for one in found} == {PROSE} and {one.same for one in found} == {None}
    assert found[0].farthest == 0 and found[0].points > 1
    assert all(0 < one.farthest < 0.5 and abs(one.points - found[0].points) < 0.5 for one in found[1:])


def test_the_table_has_a_row_for_each_file() -> None:
    made = [Price("m", "d", 9, "exact", 90.0, 1, 0, 1), Price("m", "d", 9, "fast", 89.0, 0.98, 0.012, 2.5),
            Price("m", "l", 4, "exact", 1.5, None, 0, 1), Price("m", "l", 4, "fast", 1.51, None, 0.02, 2)]  # fmt: skip
    assert table(made).splitlines() == [
        "| model | data | rows | exact | fast |",
        "|---|---|---:|---|---|",
        "| m | d | 9 | 90.0 | 89.0 (98.0% the same, 0.012 at most, 2.50 x) |",
        "| m | l | 4 | 1.500 bits per byte | 1.510 bits per byte (0.020 at most, 2.00 x) |",
    ]


def test_what_is_stated_of_a_precision_is_held_to_or_told() -> None:
    """Bits per byte are no probabilities."""
    made = [Price("m", "d", 9, "exact", 90.0, 1, 0, 1), Price("m", "d", 9, "fast", 89.0, 0.98, 0.012, 2.5),
            Price("m", "e", 9, "small", 89.0, 0.9, 0.3, 2), Price("m", "l", 4, "fast", 1.51, None, 0.9, 2)]  # fmt: skip
    assert (found := farthest(made)) == {"fast": 0.012, "small": 0.3}
    assert kept(found).splitlines() == [
        "fast: probabilities differ by 0.012 at most, within 0.04",
        "small: probabilities differ by 0.300 at most, MORE THAN 0.25",
    ]
