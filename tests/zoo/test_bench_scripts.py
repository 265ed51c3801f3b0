"""The scripts in tests/bench that hold real texts against the plain way, and that draw how cost grows, run and see what
they are to see."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny_data
from zoo.training import heldout

BENCH = Path(__file__).resolve().parents[1] / "bench"

pytestmark = pytest.mark.slow


def said(script: str, *options: str) -> str:
    made = subprocess.run([sys.executable, str(BENCH / script), *options], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-2000:]
    return made.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny_data.write(tmp_path_factory.mktemp("data"))
    heldout.write(made, made / "heldout")
    return made


def test_streams(data: Path) -> None:
    passages = str(data / "qa" / "squad_v1.1_dev.json.gz")
    models = ("gpt-mini", "ulmfit-mini")
    found = said("streams.py", "--models", *models, "--rows", "3", "--new", "4", "--visitors", "2", "--texts", passages)
    assert found.splitlines()[:2] == [f"{model}: 6 continuations of 3 texts, 0 differ" for model in models]


def test_same(data: Path) -> None:
    found = said(
        "same.py", "--data", str(data), "--heldout", str(data / "heldout"), "--models", "bert-mini", "--rows", "3"
    )
    assert found.count(" 0 other answers") == 4 and "bert-mini, SNLI dev: 3 rows, " in found


def test_growth(tmp_path: Path) -> None:
    picture = tmp_path / "growth.svg"
    drawn = bool(importlib.util.find_spec("matplotlib"))
    found = said("growth.py", "--quick", *(["--plot", str(picture)] if drawn else []))
    assert found.count(": about n to the ") == 5
    assert picture.exists() == drawn
