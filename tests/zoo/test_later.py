"""What can be had without torch is there without waiting for it."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import zoo
from zoo.engine import Engine
from zoo.later import LateEngine, lazily

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = "import sys; sys.modules['torch'] = None  # whoever imports it fails\n"


@pytest.mark.parametrize(
    "code",
    [
        "import zoo; assert zoo.models()[0].name == 'bert-mini'",
        "from zoo.__main__ import main; assert main(['list']) == 0",
        "from zoo.__main__ import main; assert main(['show', 'bert-base-snli']) == 0",
        "import app, tasks.tabs; app.build_app(object()); from tasks.tabs.page import launch_options; launch_options()",
    ],
)
def test_without_torch(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT + code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_door_names_what_it_imports_later() -> None:
    assert set(zoo.__all__) <= set(dir(zoo))
    assert zoo.Engine is Engine
    with pytest.raises(AttributeError, match="module 'zoo' has no attribute 'engin'"):
        zoo.engin  # noqa: B018


def test_the_list_of_models_keeps_its_name() -> None:
    """The package zoo.models has the same one; whichever module of it is imported first must not take it away."""
    code = "import zoo, zoo.models.bert; from zoo.models import shelf; assert len(zoo.models()) > 70"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_name_is_imported_when_it_is_asked_for() -> None:
    assert "zoo.engine.nowhere" not in sys.modules
    get = lazily("zoo.engine", {"Read": "zoo.engine.answers", "Lost": "zoo.engine.nowhere"})
    assert get("Read") is zoo.engine.Read
    with pytest.raises(ModuleNotFoundError):
        get("Lost")


def test_a_late_engine_is_made_once_by_whoever_comes_first() -> None:
    made = []
    begin = threading.Barrier(8)

    def make() -> Engine:
        made.append(threading.current_thread())
        return Engine()

    late = LateEngine(make)
    seen: list[int] = []

    def ask() -> None:
        begin.wait()
        seen.append(late.memory_bytes)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert seen == [late.now().memory_bytes] * 8


def test_an_engine_that_cannot_be_made_is_tried_again() -> None:
    tries = []

    def make() -> Engine:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no room")
        return Engine()

    late = LateEngine(make)
    with pytest.raises(OSError, match="no room"):
        late.loaded()
    assert late.loaded() == []


def test_nothing_is_collected_while_a_module_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_part.py").write_text("import gc\nWAS = gc.isenabled()\n")
    (tmp_path / "broken_part.py").write_text("import gc\nraise OSError(str(gc.isenabled()))\n")
    monkeypatch.syspath_prepend(tmp_path)
    get = lazily("zoo", {"WAS": "heavy_part", "LOST": "broken_part"})
    assert gc.isenabled()
    assert get("WAS") is False
    with pytest.raises(OSError, match="False"):
        get("LOST")
    assert gc.isenabled()
