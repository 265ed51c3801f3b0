"""A model that leaves gives its memory back to the system, whatever its precision."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zoo.bench.fullsize import MODELS, FullSize
from zoo.engine import precision

PROGRAM = """
import gc, sys
from zoo import Engine
from zoo.bench.serve import resident
from zoo.sampling import Sampling

small, large, kind = sys.argv[1:]
engine = Engine(precision=kind, remember=100)

def use(name):
    for _ in engine.generate(name, "lm", "abc abcd " * 9, "", 4, Sampling()):
        pass

use(small)  # libraries and threads
engine.unload(small)
gc.collect()
before = resident()
use(large)
full = resident()
engine.unload(large)
gc.collect()
print(before, full, resident())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not say what a process holds")
@pytest.mark.parametrize("kind", precision.supported())
def test_memory_falls_when_a_model_leaves(tmp_path: Path, kind: str) -> None:
    gpt2 = MODELS["gpt2"]
    small, large = tmp_path / "small", tmp_path / "large"
    for folder in (small, large):
        folder.mkdir()
    gpt2.write(small, tiny=True)
    wide = gpt2.tiny | {"n_embd": 1024, "n_layer": 4, "n_head": 16}  # 200 MB in float32
    FullSize(gpt2.title, gpt2.config, wide, gpt2.shapes, gpt2.write_vocabulary).write(large, tiny=True)
    command = [sys.executable, "-c", PROGRAM, str(small), str(large), kind]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    before, full, after = map(float, said.split())
    assert full - before > 40, "it was there"
    assert after - before < 0.25 * (full - before)


MANY = """
import sys
import torch
from zoo.bench.serve import resident
from zoo.engine.precision import kind_of
from zoo.layers.packed import laid_out
from zoo.processor import give_memory_back

made = laid_out(torch.randn(1536, 384), None, kind_of(sys.argv[1]))
with torch.inference_mode():
    for rows in range(100, 130):
        made(torch.randn(rows, 384))
    before = resident()
    for rows in range(130, 600):
        made(torch.randn(rows, 384))
give_memory_back()  # as the engine does now and then
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not say what a process holds")
@pytest.mark.parametrize("kind", precision.supported())
def test_texts_of_ever_new_lengths_take_no_more_memory(kind: str) -> None:
    """470 kernels would take 250 to 400 MB."""
    said = subprocess.run([sys.executable, "-c", MANY, kind], capture_output=True, text=True, check=True, timeout=120)
    assert float(said.stdout) < 150
