"""Subword tokenizers on the `tokenizers` library: WordPiece (BERT) and byte-level BPE (GPT-2).

A repository's tokenizer.json is used when there is one, less its own truncation, padding and template: those are the
engine's and the family's business. Otherwise the tokenizer is built from the vocabulary files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from zoo.contracts import Encoding, Pieces
from zoo.errors import BadCheckpoint
from zoo.tokenizers.template import Template
from zoo.weights.formats import read_json


class SubwordTokenizer:
    """A `tokenizers` pipeline with the templates of a family. Thread-safe: nothing changes after construction.

    `question` is the template of a question (A) and a passage (B), that of any pair if it is left out; `prompt` that
    of a text to be continued.
    """

    def __init__(
        self,
        pipeline: Tokenizer,
        single: str,
        pair: str,
        end: int | None = None,
        question: str = "",
        prompt: str = "A:0",
    ) -> None:
        pipeline.no_truncation()
        pipeline.no_padding()
        self._pipeline = pipeline
        self._single = Template.parse(single, self._id)
        self._pair = Template.parse(pair, self._id)
        self._question = Template.parse(question or pair, self._id)
        self._prompt = Template.parse(prompt, self._id)
        self.vocabulary = 1 + max(pipeline.get_vocab(with_added_tokens=True).values(), default=-1)
        self.end = end

    def pieces(self, text: str) -> Pieces:
        """Cut `text`, without special tokens of the template."""
        encoded = self._pipeline.encode(text, add_special_tokens=False)
        return Pieces(tuple(encoded.ids), tuple(encoded.offsets))

    def assemble(self, first: Pieces, second: Pieces | None = None) -> Encoding:
        """Put one text or a pair into the template."""
        return (self._single if second is None else self._pair).assemble(first, second)

    def question(self, question: Pieces, passage: Pieces) -> Encoding:
        """Put a question and a passage into the template."""
        return self._question.assemble(question, passage)

    def prompt(self, text: Pieces) -> Encoding:
        """A text that is to be continued."""
        return self._prompt.assemble(text, None)

    def reread(self, index: int) -> int:
        """A generated token as input: the id itself."""
        return index

    def extras(self, pair: bool) -> int:
        """How many special tokens the template adds."""
        return (self._pair if pair else self._single).extras

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, special tokens left out."""
        return self._pipeline.decode(list(ids), skip_special_tokens=True)

    def token(self, index: int) -> str:
        """The vocabulary's own spelling of one id."""
        return self._pipeline.id_to_token(index) or ""

    def save(self, folder: Path) -> None:
        """Write tokenizer.json."""
        self._pipeline.save(str(folder / "tokenizer.json"))

    def _id(self, token: str) -> int:
        index = self._pipeline.token_to_id(token)
        if index is None:
            raise BadCheckpoint(f"The vocabulary has no {token}, which this family's input needs.")
        return index


def wordpiece(folder: Path, template: str, pair: str) -> SubwordTokenizer:
    """BERT's tokenizer: clean, split Chinese characters, lower-case and strip accents if asked, then WordPiece.

    As in the reference, tokenizer_config.json decides on case and accents even where tokenizer.json says otherwise,
    unless it names a class that has no such options. Raises BadCheckpoint when neither tokenizer.json nor vocab.txt
    is readable, and for a vocabulary that wants its words cut by another program first.
    """
    options = _options(folder)
    if options.get("tokenizer_class") == "BertJapaneseTokenizer" or "word_tokenizer_type" in options:
        raise BadCheckpoint(
            f"{folder} needs a Japanese word splitter (BertJapaneseTokenizer), which is not in this zoo."
        )
    normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(options.get("tokenize_chinese_chars", True)),
        strip_accents=options.get("strip_accents"),
        lowercase=bool(options.get("do_lower_case", True)),  # absent means true in the reference
    )
    ready = _from_json(folder)
    if ready is not None:
        if _decides(options) and isinstance(ready.normalizer, normalizers.BertNormalizer):
            ready.normalizer = normalizer
        return SubwordTokenizer(ready, template, pair)
    words = [line.rstrip() for line in _read_lines(folder / "vocab.txt")]
    vocabulary = {word: index for index, word in enumerate(words)}
    specials = [word for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if word in vocabulary]
    if "[UNK]" not in specials:
        raise BadCheckpoint(f"{folder / 'vocab.txt'} has no [UNK] and is no BERT vocabulary.")
    model = _model(folder, lambda: models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    pipeline = Tokenizer(model)
    pipeline.normalizer = normalizer
    pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pipeline.decoder = decoders.WordPiece(prefix="##")
    pipeline.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in specials])
    return SubwordTokenizer(pipeline, template, pair)


def byte_level_bpe(folder: Path, end: int | None, template: str = "A:0", pair: str = "A:0 B:0") -> SubwordTokenizer:
    """GPT-2's tokenizer: bytes as letters, split by its regular expression, then BPE.

    As in the reference, tokenizer_config.json decides whether a space is put before the text (`add_prefix_space`).
    Raises BadCheckpoint when neither tokenizer.json nor vocab.json with merges.txt is readable.
    """
    options = _options(folder)
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=bool(options.get("add_prefix_space", False)))
    pipeline = _from_json(folder)
    if pipeline is not None:
        if _decides(options) and isinstance(pipeline.pre_tokenizer, pre_tokenizers.ByteLevel):
            pipeline.pre_tokenizer = splitter
    else:
        vocabulary = read_json(folder / "vocab.json")
        lines = _read_lines(folder / "merges.txt")
        rows = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
        if any(len(row) != 2 for row in rows):
            raise BadCheckpoint(f"{folder / 'merges.txt'} has lines that are no pair of pieces.")
        pipeline = Tokenizer(_model(folder, lambda: models.BPE(vocabulary, [(a, b) for a, b in rows])))
        pipeline.pre_tokenizer = splitter
        pipeline.decoder = decoders.ByteLevel()
        if "<|endoftext|>" in vocabulary:
            pipeline.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    if end is None:
        end = pipeline.token_to_id("<|endoftext|>")
    return SubwordTokenizer(pipeline, template, pair, end)


def _from_json(folder: Path) -> Tokenizer | None:
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 (the library raises plain Exception for every kind of broken file)
        raise BadCheckpoint(f"{path} is no readable tokenizer ({error}). Download or copy it again.") from None


def _model(folder: Path, make: Callable[[], Any]) -> Any:
    """A model of the library, which raises plain Exception for vocabularies that do not fit together."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001
        raise BadCheckpoint(f"The vocabulary files in {folder} do not fit together ({error}).") from None


def _options(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.is_file() else {}


def _decides(options: dict[str, Any]) -> bool:
    """Whether tokenizer_config.json is there, and of a class that builds its pipeline from the options in it."""
    return bool(options) and options.get("tokenizer_class") not in ("PreTrainedTokenizerFast", "TokenizersBackend")


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise BadCheckpoint(f"{path.parent} has neither tokenizer.json nor {path.name}.") from None
    except UnicodeDecodeError:
        raise BadCheckpoint(f"{path} is not UTF-8 text.") from None
