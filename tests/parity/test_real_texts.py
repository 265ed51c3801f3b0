"""Tokenizers on the text columns of all data sets, English and Chinese: the same ids and offsets as the reference.

The vocabularies are the published ones. Data and vocabularies are beside the project, not in it: without them the
tests here skip, and test_tokenizers.py does with vocabularies that it makes.
"""

from __future__ import annotations

import gzip
import json
import lzma
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import BertTokenizer, GPT2Tokenizer, OpenAIGPTTokenizer, XLNetTokenizer

from tests.parity.reference import SHARED
from tests.parity.strings import NASTY, varied
from tests.published.xlnet import convert
from zoo.models import shelf
from zoo.weights.layout import Opened

pytestmark = [
    pytest.mark.skipif(not SHARED.is_dir(), reason="the folder shared/data is not here"),
    pytest.mark.slow,
]

ROWS = 260  # of each column
LONGEST = 3_000  # characters of a row: some hold whole books
ATTRIBUTES = {"ids", "wordpiece", "basic", "source_labels", "rouge_scores"}  # lists that are no texts


@dataclass(frozen=True)
class Published:
    """A published vocabulary: the family that reads it, its files by the names that repositories use, the reference."""

    family: str
    files: dict[str, str]
    reference: Callable[[Path], Any]
    options: dict[str, Any]


def _wordpiece(name: str, lower: bool) -> Published:
    options = {"do_lower_case": lower, "tokenizer_class": "BertTokenizer"}
    return Published("bert", {f"{name}_vocab.txt": "vocab.txt"}, BertTokenizer.from_pretrained, options)


def _xlnet(folder: Path) -> Any:
    """Out of the tokenizer.json that repositories have, made by the reference's own converter."""
    convert(folder / "spiece.model", folder / "converted")
    return XLNetTokenizer.from_pretrained(folder / "converted")


def _gpt(folder: Path) -> Any:
    return OpenAIGPTTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))


PUBLISHED = {
    "bert-base-uncased": _wordpiece("bert_base_uncased", True),
    "bert-base-cased": _wordpiece("bert_base_cased", False),
    "bert-base-chinese": _wordpiece("bert_base_chinese", False),
    "gpt2": Published(
        "gpt2", {"gpt2_encoder.json": "vocab.json", "gpt2_vocab.bpe": "merges.txt"}, GPT2Tokenizer.from_pretrained, {}
    ),
    "gpt2-chinese": Published(
        "gpt2",
        {"bert_base_chinese_vocab.txt": "vocab.txt"},
        BertTokenizer.from_pretrained,
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True},
    ),
    "openai-gpt": Published(
        "gpt", {"openai_gpt_encoder_bpe_40000.json": "vocab.json", "openai_gpt_vocab_40000.bpe": "merges.txt"}, _gpt, {}
    ),
    "xlnet-base-cased": Published("xlnet", {"xlnet_cased_spiece.model": "spiece.model"}, _xlnet, {}),
    "chinese-xlnet": Published("xlnet", {"chinese_xlnet_spiece.model": "spiece.model"}, _xlnet, {}),
}


def strings(value: Any) -> Iterator[str]:
    """The texts of a field: itself, or those of a list."""
    if isinstance(value, str):
        yield value[:LONGEST]
    elif isinstance(value, list):
        yield from (item[:LONGEST] for item in value[:5] if isinstance(item, str))


def columns() -> Iterator[tuple[str, list[str]]]:
    """(file and field, texts) of everything that holds text."""
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    for path in sorted(p for p in SHARED.rglob("*") if p.suffix in openers and not p.name.endswith(".tar.gz")):
        name = str(path.relative_to(SHARED))
        with openers[path.suffix](path, "rt", encoding="utf-8") as file:
            if ".jsonl" in path.suffixes:
                rows = [json.loads(line) for line in islice(file, ROWS)]
                for field in dict.fromkeys(key for row in rows for key in row if key not in ATTRIBUTES):
                    texts = [text for row in rows for text in strings(row.get(field))]
                    if texts:
                        yield f"{name} {field}", texts
            elif ".json" in path.suffixes:
                paragraphs = [p for article in json.load(file)["data"] for p in article["paragraphs"]][:ROWS]
                yield f"{name} context", [p["context"] for p in paragraphs]
                yield f"{name} question", [p["qas"][0]["question"] for p in paragraphs if p["qas"]]
            else:
                yield name, [line.rstrip("\n")[:LONGEST] for line in islice(file, ROWS)]


@cache
def texts() -> list[str]:
    """Every text once: the data sets, the nasty list, and seeded mixtures."""
    found = [text for _, column in columns() for text in column]
    return list(dict.fromkeys([*found, *NASTY, *varied(["river", "Berlin", "walked", "北京", "天气"], 2_000, seed=11)]))


def test_enough_texts() -> None:
    """At least 20,000 texts of at least 100 columns, Chinese ones among them."""
    assert len(list(columns())) >= 100
    assert len(texts()) >= 20_000
    assert sum(any("\u4e00" <= c <= "\u9fff" for c in text) for text in texts()) >= 5_000


@pytest.mark.parametrize("shape", PUBLISHED)
def test_ids_and_offsets(shape: str, tmp_path: Path, parity: Any) -> None:
    """Each text through both tokenizers; the row of the table has the number of differing ids and offsets."""
    published = PUBLISHED[shape]
    for name, target in published.files.items():
        shutil.copy(SHARED / "vocab" / name, tmp_path / target)
    if published.options:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(published.options), encoding="utf-8")
    family = shelf.family(published.family)
    config = SimpleNamespace(vocab_size=50_257, eos_token_id=None)
    ours, theirs = family.read_tokenizer(Opened(tmp_path), config), published.reference(tmp_path)
    for begin in range(0, len(texts()), 2_000):
        part = texts()[begin : begin + 2_000]
        read = theirs(part, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        made = [ours.pieces(text) for text in part]
        for text, pieces, ids, offsets in zip(part, made, read["input_ids"], read["offset_mapping"], strict=True):
            assert list(pieces.ids) == list(ids), f"ids of {text[:200]!r}"
            assert list(pieces.offsets) == [tuple(pair) for pair in offsets], f"offsets of {text[:200]!r}"
        for what, mine, its in (
            ("ids", [i for pieces in made for i in pieces.ids], [i for ids in read["input_ids"] for i in ids]),
            ("offsets", [o for p in made for o in p.offsets], [o for os in read["offset_mapping"] for o in os]),
        ):
            parity(f"{family.name} token {what}", torch.tensor(mine), torch.tensor(its), 0)
