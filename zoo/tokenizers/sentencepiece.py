"""SentencePiece vocabularies (Kudo and Richardson 2018) -> a pipeline of the `tokenizers` library.

A spiece.model is a protocol buffer, read here by hand (google/sentencepiece, sentencepiece_model.proto). The pipeline
cuts a text into words at white space and words into pieces, as transformers 5 does with the tokenizer.json of XLNet's
repositories; ids and offsets are the same whichever of the two files a repository has. So it differs from others:

- Conversions of 2020 to 2025 (the tokenizer.json itself) cut at spaces alone: white space at the end of a text is a
  token "▁" there, and offsets begin at the space before a word. The original has no such token.
- Conversions since June 2024, and transformers 5 where it finds a spiece.model alone, take user-defined pieces ("." in
  XLNet's vocabulary) out of the text first, so that a new word begins behind each. The original does not.
- XLNet and ALBERT cut a piece such as "19," again, into digits and comma. Conversions make such pieces too bad to be
  chosen, which is nearly always the same; transformers 5 with a spiece.model alone does nothing about them.
- With marks that have no combining class, Korean syllables and splits of equal score the library does not do as the
  original program does. Of 4,000 English and Chinese texts that is one, a row of exclamation marks.
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from zoo.errors import BadCheckpoint
from zoo.tokenizers.files import from_json, made, options_of
from zoo.tokenizers.subword import SubwordTokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6  # types of pieces
UNIGRAM, BPE = 1, 2  # types of models
FLOAT = struct.Struct("<f")
JOINED_SPACES = normalizers.Replace(Regex(" {2,}"), " ")
NO_LETTERS = Regex(r"▁?\p{N}+|▁?[^\p{L}\p{N}\p{M}▁]")  # a number, or any mark
MASKS = ("<mask>", "[MASK]")
RARE = 0.0003  # part of a text that its rarest characters may make up together without a piece of their own
UNLIKELY = 100.0  # taken from the score of a piece that must not be chosen

TEXT, SCORE = 1 << 3 | 2, 2 << 3 | 5  # how those fields of a piece begin: their number and kind
FIXED = {1: 8, 5: 4}  # bytes of a field by its kind; kind 0 is a number, 2 says how long it is
Field = tuple[int, int | bytes]  # number, and a whole number or bytes


class Piece(NamedTuple):
    """One entry of the vocabulary; `score` is the logarithm of its probability, or the rank of its merge."""

    text: str
    score: float
    type: int


@dataclass(frozen=True)
class SentencePiece:
    """What a spiece.model says. `charsmap` is its table of characters to be replaced, in the program's own format."""

    pieces: tuple[Piece, ...]
    algorithm: int  # UNIGRAM or BPE
    unknown: int  # index of the piece for everything else
    byte_fallback: bool
    charsmap: bytes
    dummy_prefix: bool  # whether a text begins with a space


def read_model(path: Path) -> SentencePiece:
    """Read a spiece.model. Raises BadCheckpoint when it is absent, cut off, or asks for what is not built here."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadCheckpoint(f"{path.parent} has neither tokenizer.json nor {path.name}.") from None
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {error.strerror}.") from None
    try:
        parts = list(_fields(data))
        pieces = tuple(_piece(_bytes(value)) for number, value in parts if number == 1)
        trainer, normalizer = ([v for n, v in parts if n == wanted] for wanted in (2, 3))
        if not pieces or len(trainer) != 1 or len(normalizer) != 1:
            raise ValueError(f"{len(pieces)} pieces, {len(trainer)} trainer and {len(normalizer)} normalizer parts")
        trained, rules = dict(_fields(_bytes(trainer[0]))), dict(_fields(_bytes(normalizer[0])))
        charsmap = _bytes(rules.get(2, b""))
        _check_charsmap(charsmap)
    except (ValueError, IndexError, struct.error) as error:
        raise BadCheckpoint(f"{path} is no SentencePiece model, or was cut off ({error}). Download it again.") from None
    unknown = [index for index, piece in enumerate(pieces) if piece.type == UNKNOWN]
    kind = trained.get(3, UNIGRAM)
    wrong = {
        f"the algorithm {kind!r} (1, unigram, and 2, BPE, are)": kind not in (UNIGRAM, BPE),
        "spaces behind words": bool(trained.get(24, 0)),
        "spaces as they are": not rules.get(5, 1),
        f"{len(unknown)} pieces for what is unknown": len(unknown) != 1,
        "the same piece twice": len({piece.text for piece in pieces}) < len(pieces),
    }
    asked = [what for what, is_so in wrong.items() if is_so]
    if asked:
        raise BadCheckpoint(f"{path} asks for what is not read here: {', '.join(asked)}.")
    assert isinstance(kind, int)
    return SentencePiece(pieces, kind, unknown[0], bool(trained.get(35, 0)), charsmap, bool(rules.get(3, 1)))


def sentencepiece(
    folder: Path,
    specials: Sequence[str],
    single: str,
    pair: str,
    question: str = "",
    end: str | None = None,
    file: str = "spiece.model",
    lower: bool = False,
) -> SubwordTokenizer:
    """The tokenizer of XLNet and ALBERT: clean quotes, strip accents, lower-case if asked, then the model's own table.

    `specials` are found in a text as they stand there; tokenizer_config.json decides on case and accents (`lower` is
    the family's own choice). A tokenizer.json is taken as it is, but cuts into words first. Raises BadCheckpoint
    when neither is readable.
    """
    pipeline = from_json(folder)
    if pipeline is not None:
        _cut_into_words(pipeline)
    else:
        path, options = folder / file, options_of(folder)
        lower, keep = bool(options.get("do_lower_case", lower)), bool(options.get("keep_accents", False))
        pipeline = build(read_model(path), path, specials, lower, keep)
    return SubwordTokenizer(pipeline, single, pair, pipeline.token_to_id(end) if end else None, question)


def build(model: SentencePiece, path: Path, specials: Sequence[str], lower: bool, keep_accents: bool) -> Tokenizer:
    """The pipeline. Raises BadCheckpoint, naming `path`, where the library refuses the pieces or the table."""
    pipeline = made(path, lambda: Tokenizer(_unigram(model) if model.algorithm == UNIGRAM else _bpe(model)))
    pipeline.normalizer = made(path, lambda: _normalizer(model, lower, keep_accents))
    scheme = "always" if model.dummy_prefix else "never"
    pipeline.pre_tokenizer = _words(pre_tokenizers.Metaspace("▁", prepend_scheme=scheme))
    pipeline.decoder = decoders.Metaspace("▁", prepend_scheme=scheme)
    control = [piece.text for piece in model.pieces if piece.type == CONTROL]
    for token in dict.fromkeys([*control, *specials]):
        if pipeline.token_to_id(token) is not None:
            # As published: a mask takes the spaces before it along, and is looked for when the text has been cleaned.
            mask = token in MASKS
            pipeline.add_special_tokens([AddedToken(token, special=True, lstrip=mask, normalized=mask)])
    return pipeline


def train(texts: Sequence[str], specials: Sequence[str], vocabulary: int) -> Tokenizer:
    """A pipeline of the same form with a vocabulary of the texts' own: `specials` first, of which the first stands for
    what is unknown, then pieces by their probability (Kudo 2018).

    As in the original program, no piece joins letters with digits or with marks: an answer must not end within one.
    The rarest characters get no piece: an encyclopedia quotes all scripts, which would take half of the vocabulary.
    """
    pipeline = Tokenizer(models.Unigram())
    pipeline.normalizer = _clean(lower=False, keep_accents=False)
    pipeline.pre_tokenizer = _words(pre_tokenizers.Metaspace("▁", prepend_scheme="always"))
    pipeline.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    cleaned = [pipeline.normalizer.normalize_str(text) for text in texts]
    rare = dict.fromkeys(map(ord, _rare(Counter(chain.from_iterable(cleaned)))), " ")
    trainer = trainers.UnigramTrainer(
        vocab_size=vocabulary, special_tokens=list(specials), unk_token=specials[0], show_progress=False
    )
    words = pipeline.pre_tokenizer
    pipeline.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.Split(NO_LETTERS, "isolated")])
    pipeline.train_from_iterator((text.translate(rare) for text in cleaned), trainer)
    pipeline.pre_tokenizer = words
    pipeline.model = _ordered(pipeline, len(specials))
    return pipeline


def _ordered(pipeline: Tokenizer, specials: int) -> models.Unigram:
    """The model as trained, in one order: the trainer's threads leave pieces of like scores in any, and other last
    digits."""
    pieces = [(piece, round(score, 4)) for piece, score in json.loads(pipeline.to_str())["model"]["vocab"]]
    rest = sorted(pieces[specials:], key=lambda piece: (-piece[1], piece[0]))
    return models.Unigram([*pieces[:specials], *rest], 0, False)


def _rare(counts: Counter[str]) -> list[str]:
    """The rarest characters, as many as make up less than RARE of all."""
    left = RARE * counts.total()
    found = []
    for character, count in reversed(counts.most_common()):
        left -= count
        if left < 0:
            break
        found.append(character)
    return found


def _cut_into_words(pipeline: Tokenizer) -> None:
    """Let a converted pipeline, which cuts at spaces and joins them before, cut at white space as ours does."""
    if isinstance(pipeline.pre_tokenizer, pre_tokenizers.Metaspace):
        pipeline.pre_tokenizer = _words(pipeline.pre_tokenizer)
    steps = pipeline.normalizer
    if isinstance(steps, normalizers.Sequence):
        kept = [step for step in map(steps.__getitem__, range(len(steps))) if repr(step) != repr(JOINED_SPACES)]
        pipeline.normalizer = normalizers.Sequence(kept)


def _words(pieces: pre_tokenizers.Metaspace) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pieces])


def _unigram(model: SentencePiece) -> models.Unigram:
    scores = [(p.text, p.score - UNLIKELY if _is_number_with_comma(p.text) else p.score) for p in model.pieces]
    return models.Unigram(scores, model.unknown, model.byte_fallback)


def _bpe(model: SentencePiece) -> models.BPE:
    """Merges are not in the file: any two pieces that make up a third are one, those of the best score first."""
    index = {piece.text: number for number, piece in enumerate(model.pieces)}
    merges = []
    for piece in model.pieces:
        if piece.type == NORMAL:
            halves = ((piece.text[:cut], piece.text[cut:]) for cut in range(1, len(piece.text)))
            found = [(left, right) for left, right in halves if left in index and right in index]
            merges += [(-piece.score, index[left], index[right], (left, right)) for left, right in found]
    ordered = [halves for *_, halves in sorted(merges)]
    unknown = model.pieces[model.unknown].text
    return models.BPE(index, ordered, unk_token=unknown, fuse_unk=True, byte_fallback=model.byte_fallback)


def _normalizer(model: SentencePiece, lower: bool, keep_accents: bool) -> normalizers.Normalizer:
    steps = [_clean(lower, keep_accents)]
    if model.charsmap:
        steps.append(normalizers.Precompiled(model.charsmap))
    return normalizers.Sequence(steps)


def _clean(lower: bool, keep_accents: bool) -> normalizers.Normalizer:
    """What XLNet's program does before the model's own table."""
    steps: list[normalizers.Normalizer] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not keep_accents:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if lower:
        steps.append(normalizers.Lowercase())
    return normalizers.Sequence(steps)


def _is_number_with_comma(text: str) -> bool:
    return len(text) > 1 and text[-1] == "," and text[-2].isdigit()


def _piece(data: bytes) -> Piece:
    """One entry. Nearly all are a short text and a score, which is seen at once; others are read field by field."""
    if len(data) >= 7 and data[0] == TEXT and data[1] == len(data) - 7 < 0x80 and data[-5] == SCORE:
        text, kind, packed = data[2:-5].decode(), NORMAL, data[-4:]
    else:
        values = dict(_fields(data))
        text, kind = _bytes(values.get(1, b"")).decode(), _whole(values.get(3, NORMAL))
        packed = _bytes(values.get(2, bytes(4)))
    (score,) = FLOAT.unpack(packed)
    if not text or not math.isfinite(score):
        raise ValueError("a piece without text or score")
    return Piece(text, score, kind)


def _check_charsmap(data: bytes) -> None:
    """Raise ValueError where the library would read outside of the table, which ends the thread that asks it.

    The table is a double array (Aoe 1989; the program Darts-clone): each unit says how far off its children are, and
    the text to put in stands behind all units. Whatever letter comes next must be found inside.
    """
    if not data:
        return
    size = int.from_bytes(data[:4], "little")
    units, texts = struct.unpack(f"<{size // 4}I", data[4 : 4 + size]), data[4 + size :]
    for index, unit in enumerate(units):
        if unit >> 31:  # the value of a leaf
            continue
        children = index ^ (unit >> 10 << (unit >> 6 & 8))
        if children | 0xFF >= len(units):
            raise ValueError("a table of characters that leads outside of itself")
        place = units[children] & 0x7FFFFFFF
        if unit >> 8 & 1 and (place >= len(texts) or 0x80 <= texts[place] < 0xC0):
            raise ValueError("a table of characters that leads outside of its texts")
    if not units:
        raise ValueError("a table of characters without characters")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where text was expected")
    return value


def _whole(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("text where a number was expected")
    return value


def _fields(data: bytes) -> Iterator[Field]:
    """The fields of one message. Raises ValueError or IndexError for bytes that are none."""
    at, end = 0, len(data)
    while at < end:
        key, at = (data[at], at + 1) if data[at] < 0x80 else _number(data, at)
        kind = key & 7
        size, at = (FIXED[kind], at) if kind in FIXED else _number(data, at)
        if kind == 0:
            yield key >> 3, size
            continue
        if kind != 2 and kind not in FIXED:
            raise ValueError(f"a field of kind {kind}")
        if at + size > end:
            raise ValueError(f"{at + size - end} bytes are missing")
        yield key >> 3, data[at : at + size]
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, lowest first, and where it ends."""
    value = data[at]
    if value < 0x80:  # nearly always
        return value, at + 1
    value &= 0x7F
    for shift in range(7, 70, 7):
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
    raise ValueError("a number of too many bytes")
