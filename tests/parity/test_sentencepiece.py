"""SentencePiece vocabularies against the reference library and the original program; broken files refused."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers
from transformers import XLNetTokenizer

from tests.parity.reference import SHARED
from tests.parity.strings import NASTY, varied
from tests.parity.test_tokenizers import real_texts
from tests.published.xlnet import CONTROL, NORMAL, STAND_IN, UNKNOWN, USER_DEFINED, convert, count, spiece
from zoo.errors import BadCheckpoint
from zoo.models import xlnet
from zoo.tokenizers import sentencepiece
from zoo.tokenizers.subword import SubwordTokenizer
from zoo.weights.layout import Opened

WORDS = ["the", "cat", "sat", "19,", "1,999,", "Berlin", "café", "CAFÉ", "``", "''", "<mask>", " <sep>", "中文", "你好"]
REAL = ["xlnet_cased", "chinese_xlnet"]
OTHERS = ["albert_v1", "hf_test_sentencepiece", "cluecorpussmall_spm"]
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder shared/data is not here")
kinds = pytest.mark.parametrize("kind", ["stand-in", *(pytest.param(name, marks=needs_shared) for name in REAL)])


def vocabulary(name: str) -> Path:
    """A real spiece.model."""
    path = SHARED / "vocab" / f"{name}_spiece.model"
    return path if path.is_file() else SHARED / "vocab" / f"{name}.model"


def files(kind: str, folder: Path, **options: Any) -> None:
    """spiece.model, and tokenizer_config.json when there are options."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "stand-in":
        (folder / "spiece.model").write_bytes(spiece(STAND_IN))
    else:
        shutil.copy(vocabulary(kind), folder / "spiece.model")
    if options:
        (folder / "tokenizer_config.json").write_text(json.dumps(options), encoding="utf-8")


def read(folder: Path) -> SubwordTokenizer:
    """Ours, as the XLNet family makes it."""
    tokenizer = xlnet.FAMILY.read_tokenizer(Opened(folder), None)
    assert isinstance(tokenizer, SubwordTokenizer)
    return tokenizer


def published(kind: str, folder: Path, lower: bool = False, keep_accents: bool = False) -> None:
    """A repository with a tokenizer.json as published, and without the spiece.model that it was made of."""
    files(kind, folder)
    convert(folder / "spiece.model", folder, lower, keep_accents)
    (folder / "spiece.model").unlink()


def reference(folder: Path) -> Any:
    """The reference's tokenizer of a repository with a tokenizer.json."""
    return XLNetTokenizer.from_pretrained(folder)


@cache
def texts() -> list[str]:
    """The nasty list, and seeded mixtures."""
    return NASTY + varied(WORDS, 1_500, seed=21)


def same(ours: SubwordTokenizer, theirs: Any, strings: Sequence[str]) -> int:
    """Assert the reference's ids and offsets; returns the number of tokens."""
    found = theirs(list(strings), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    tokens = 0
    for text, ids, offsets in zip(strings, found["input_ids"], found["offset_mapping"], strict=True):
        pieces = ours.pieces(text)
        assert list(pieces.ids) == ids, f"ids of {text[:200]!r}"
        assert list(pieces.offsets) == [tuple(pair) for pair in offsets], f"offsets of {text[:200]!r}"
        tokens += len(pieces)
    return tokens


@kinds
def test_a_published_repository(kind: str, tmp_path: Path) -> None:
    """A tokenizer.json as published: ids, offsets, and the same as from the spiece.model it was made of."""
    published(kind, tmp_path / "json")
    theirs, ours = reference(tmp_path / "json"), read(tmp_path / "json")
    assert same(ours, theirs, texts()) > 30_000
    files(kind, tmp_path / "model")
    built = read(tmp_path / "model")
    assert same(built, theirs, texts()) > 30_000
    assert built.vocabulary == ours.vocabulary == theirs.vocab_size


@needs_shared
@pytest.mark.parametrize("kind", REAL)
def test_real_texts(kind: str, tmp_path: Path) -> None:
    """Four thousand rows of English and Chinese, from the spiece.model."""
    published(kind, tmp_path / "json")
    files(kind, tmp_path / "model")
    assert same(read(tmp_path / "model"), reference(tmp_path / "json"), real_texts()) > 100_000


@needs_shared
@pytest.mark.parametrize("kind", REAL)
def test_the_original_program(kind: str, tmp_path: Path) -> None:
    """The ids that the original C++ program gives behind the original cleaning, recorded once; five strings differ."""
    recorded = json.loads((Path(__file__).parents[1] / "golden/xlnet_sentencepiece.json").read_text(encoding="utf-8"))
    files(kind, tmp_path)
    ours, by_chance = read(tmp_path), 0
    for text, ids in zip(recorded["texts"], recorded["ids"][kind], strict=True):
        if list(ours.pieces(text).ids) == ids:
            continue
        spelled = ["".join(map(ours.token, some)) for some in (ours.pieces(text).ids, ids)]
        if spelled[0] == spelled[1]:  # the same letters, cut elsewhere at the same score
            by_chance += 1
            continue
        decomposed = normalizers.NFKD().normalize_str(text)
        korean = any("\u1100" <= letter <= "\u11ff" for letter in decomposed)
        unclassed = any("\u0900" <= letter <= "\u0dff" for letter in decomposed)  # vowel signs of Indian scripts
        assert korean or unclassed, text
    assert by_chance <= 2


def test_differences_by_name(tmp_path: Path) -> None:
    """The four differences that the module names, seen."""
    published("stand-in", tmp_path / "json")
    files("stand-in", tmp_path / "model")
    ours, plain = read(tmp_path / "model"), Tokenizer.from_file(str(tmp_path / "json/tokenizer.json"))
    as_published = plain.encode("the cat ", add_special_tokens=False)
    assert as_published.tokens == ["▁the", "▁cat", "▁"]
    assert as_published.offsets[1] == (3, 7)
    pieces = ours.pieces("the cat ")
    assert [ours.token(i) for i in pieces.ids] == ["▁the", "▁cat"]
    assert pieces.offsets[1] == (4, 7)
    assert [ours.token(i) for i in ours.pieces("a.the").ids] == ["▁a", ".", "t", "h", "e"]
    with_comma = sentencepiece.read_model(tmp_path / "model/spiece.model")
    assert any(piece.text == "19," for piece in with_comma.pieces)
    assert [ours.token(i) for i in ours.pieces("19,").ids] == ["▁19", ","]


@kinds
def test_template(kind: str, tmp_path: Path) -> None:
    """Special tokens, segments, offsets and sources of single texts and of pairs."""
    published(kind, tmp_path)
    ours, theirs = read(tmp_path), reference(tmp_path)
    some = NASTY[:45] + varied(WORDS, 60, seed=22)
    pairs = [(text, None) for text in some] + [(a, b) for a, b in zip(some, some[::-1], strict=True) if b]
    for first, second in pairs:
        found = theirs(first, second, return_offsets_mapping=True, return_token_type_ids=True, verbose=False)
        made = ours.assemble(ours.pieces(first), None if second is None else ours.pieces(second))
        assert list(made.ids) == found["input_ids"]
        assert list(made.offsets) == [tuple(offset) for offset in found["offset_mapping"]]
        assert list(made.segments) == found["token_type_ids"]
        assert list(made.sources) == [-1 if source is None else source for source in found.sequence_ids()]
        assert made.summary == len(made) - 1
    assert ours.extras(pair=False) == theirs.num_special_tokens_to_add(pair=False)
    assert ours.extras(pair=True) == theirs.num_special_tokens_to_add(pair=True)


def test_question_and_prompt(tmp_path: Path) -> None:
    """The passage stands first, and is still the second text; a prompt has no special token."""
    files("stand-in", tmp_path)
    ours = read(tmp_path)
    question, passage = ours.pieces("who sat"), ours.pieces("the cat sat on the mat")
    made = ours.question(question, passage)
    assert [ours.token(i) for i in made.ids[-2:]] == ["<sep>", "<cls>"]
    assert made.ids[: len(passage)] == passage.ids
    assert made.sources == (1,) * len(passage) + (-1,) + (0,) * len(question) + (-1, -1)
    assert made.segments == (0,) * (len(passage) + 1) + (1,) * (len(question) + 1) + (2,)
    assert ours.prompt(passage).ids == passage.ids
    assert ours.end == xlnet.SPECIALS.index("<eod>")


@kinds
def test_decode_and_spelling(kind: str, tmp_path: Path) -> None:
    """The text of ids is that of the reference; every id has its spelling."""
    published(kind, tmp_path)
    ours, theirs = read(tmp_path), reference(tmp_path)
    for text in NASTY[:45] + varied(WORDS, 100, seed=23):
        ids = ours.assemble(ours.pieces(text)).ids
        wanted = theirs.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert ours.decode(ids) == wanted, repr(text[:200])
    spelled = theirs.convert_ids_to_tokens(range(ours.vocabulary))
    assert [ours.token(i) for i in range(ours.vocabulary)] == spelled


@kinds
def test_lower_case(kind: str, tmp_path: Path) -> None:
    """do_lower_case of tokenizer_config.json."""
    published(kind, tmp_path / "json", lower=True)
    (tmp_path / "json/tokenizer_config.json").write_text('{"do_lower_case": true}', encoding="utf-8")
    files(kind, tmp_path / "model", do_lower_case=True)
    theirs = reference(tmp_path / "json")
    assert same(read(tmp_path / "json"), theirs, texts()) > 10_000
    assert same(read(tmp_path / "model"), theirs, texts()) > 10_000
    assert read(tmp_path / "model").pieces("The CAT").ids == read(tmp_path / "model").pieces("the cat").ids


@kinds
def test_accents(kind: str, tmp_path: Path) -> None:
    """keep_accents, which the original and the converter know and transformers 5 forgot."""
    published(kind, tmp_path / "json", keep_accents=True)
    files(kind, tmp_path / "model", keep_accents=True)
    ours, also = read(tmp_path / "model"), read(tmp_path / "json")
    for text in texts():
        assert ours.pieces(text) == also.pieces(text), repr(text[:200])
    files(kind, tmp_path / "plain")
    assert ours.pieces("caf\u00e9").ids != read(tmp_path / "plain").pieces("caf\u00e9").ids


@kinds
def test_saved_and_read_again(kind: str, tmp_path: Path) -> None:
    """What we save gives the same tokens, and so it does to the reference."""
    files(kind, tmp_path / "model")
    before = read(tmp_path / "model")
    (tmp_path / "again").mkdir()
    before.save(tmp_path / "again")
    after = read(tmp_path / "again")
    assert [before.pieces(text) for text in texts()] == [after.pieces(text) for text in texts()]
    assert (after.vocabulary, after.end) == (before.vocabulary, before.end)


@needs_shared
@pytest.mark.parametrize("name", REAL + OTHERS)
def test_other_vocabularies(name: str) -> None:
    """Every SentencePiece model at hand is read, and says the same of itself as another way of counting."""
    path = vocabulary(name)
    model = sentencepiece.read_model(path)
    assert len(model.pieces) == count(path.read_bytes())
    assert model.pieces[model.unknown].type == UNKNOWN
    assert model.charsmap[:4] == (len(model.charsmap) - 4 - 60_383 + 0).to_bytes(4, "little")
    pipeline = sentencepiece.build(model, path, (), lower=False, keep_accents=False)
    encoded = pipeline.encode("Ｈello,\u3000ｗｏｒｌｄ １２", add_special_tokens=False)
    assert "".join(encoded.tokens).replace("▁", " ").strip() == "Hello, world 12"


def test_byte_pairs(tmp_path: Path) -> None:
    """A model of byte pairs: merges are those of the best pieces, not of the first ones."""
    letters = [(letter, 0.0, NORMAL) for letter in "▁abc"]
    pieces = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("ab", -1.0, NORMAL), ("bc", 0.0, NORMAL), *letters]
    (tmp_path / "m.model").write_bytes(spiece([*pieces, ("▁ab", -3.0, NORMAL)], algorithm=2))
    model = sentencepiece.read_model(tmp_path / "m.model")
    pipeline = sentencepiece.build(model, tmp_path, ("<s>",), lower=False, keep_accents=False)
    assert pipeline.encode("abc").tokens == ["▁", "a", "bc"]
    assert pipeline.encode("ab d<s>").tokens == ["▁ab", "▁", "<unk>", "<s>"]


# Files that are no such models


def refused(data: bytes, folder: Path, match: str | None = None) -> None:
    """Reading and building raises BadCheckpoint, which names the file."""
    (folder / "spiece.model").write_bytes(data)
    with pytest.raises(BadCheckpoint, match=match) as error:
        read(folder)
    assert "spiece.model" in str(error.value)


def test_nothing_there(tmp_path: Path) -> None:
    """Neither of the two files."""
    with pytest.raises(BadCheckpoint, match=r"neither tokenizer\.json nor spiece\.model"):
        read(tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"<!DOCTYPE html><html></html>", b"\0" * 100, b"\xff" * 100, b"version https://git-lfs"]
)
def test_other_files(data: bytes, tmp_path: Path) -> None:
    """An empty file, a web page, zeros, a pointer of git-lfs."""
    refused(data, tmp_path, "no SentencePiece model")


def test_cut_off_anywhere(tmp_path: Path) -> None:
    """A file cut off after any number of bytes."""
    whole = spiece(STAND_IN[:30])
    for length in range(len(whole)):
        refused(whole[:length], tmp_path)
    (tmp_path / "spiece.model").write_bytes(whole)
    assert read(tmp_path).vocabulary == 30


def test_broken_anywhere(tmp_path: Path) -> None:
    """With any byte changed it is refused, or read as something that still cuts a text."""
    whole, chance = spiece(STAND_IN[:30]), random.Random(5)
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] = chance.randrange(256)
        (tmp_path / "spiece.model").write_bytes(bytes(broken))
        try:
            read(tmp_path).pieces("the cat, 19.")
        except BadCheckpoint:
            continue


@pytest.mark.parametrize(
    ("pieces", "options", "match"),
    [
        (STAND_IN, {"algorithm": 3}, "algorithm 3"),
        (STAND_IN, {"algorithm": 4}, "algorithm 4"),
        (STAND_IN, {"n24": 1}, "spaces behind words"),
        ([*STAND_IN, ("▁the", -1.0, NORMAL)], {}, "twice"),
        ([*STAND_IN, ("<unk2>", 0.0, UNKNOWN)], {}, "2 pieces for what is unknown"),
        ([(text, score, NORMAL) for text, score, _ in STAND_IN], {}, "0 pieces for what is unknown"),
        ([*STAND_IN, ("", 0.0, NORMAL)], {}, "without text"),
        ([*STAND_IN, ("x", float("nan"), NORMAL)], {}, "score"),
        ([piece for piece in STAND_IN if piece[0] != "<cls>"], {}, "has no <cls>"),
    ],
)
def test_what_is_not_read(pieces: Any, options: dict[str, int], match: str, tmp_path: Path) -> None:
    """Models of another kind, and pieces that make no vocabulary."""
    (tmp_path / "spiece.model").write_bytes(spiece(pieces, **options))
    with pytest.raises(BadCheckpoint, match=match):
        read(tmp_path)


def test_tables_that_lead_outside(tmp_path: Path) -> None:
    """A table of characters whose units point outside of it would end the process's thread when a text is cut."""
    inside = [1 << 10, *[0] * 255]
    for units, texts_, match in (
        ([], b"a\0", "without characters"),
        ([0x61626364], b"a\0", "outside of itself"),
        ([0x3FFFFC00, *[0] * 255], b"a\0", "outside of itself"),
        ([inside[0] | 1 << 8, 1 << 31 | 99, *[0] * 254], b"a\0", "outside of its texts"),
        ([inside[0] | 1 << 8, 1 << 31 | 1, *[0] * 254], "é\0".encode(), "outside of its texts"),
    ):
        table = struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + texts_
        refused(spiece(STAND_IN, charsmap=table), tmp_path, match)
    refused(spiece(STAND_IN, charsmap=b"\xff\xff\xff\x7fabcd"), tmp_path)
    table = struct.pack("<I256I", 1024, *inside) + b"a\0"
    (tmp_path / "spiece.model").write_bytes(spiece(STAND_IN, charsmap=table))
    assert len(read(tmp_path).pieces("the cat")) == 2


def test_user_defined_pieces_are_taken_whole(tmp_path: Path) -> None:
    """Their score is the best there is, so that no longer piece swallows them."""
    (tmp_path / "spiece.model").write_bytes(spiece([*STAND_IN, ("a.b", -1.0, NORMAL), ("(19)", 0.0, USER_DEFINED)]))
    ours = read(tmp_path)
    assert [ours.token(i) for i in ours.pieces("(19)").ids] == ["▁", "(19)"]
