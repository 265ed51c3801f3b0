"""Subword tokenizers on the `tokenizers` library: WordPiece (BERT), byte-level BPE (GPT-2), BPE of words (GPT).

A repository's tokenizer.json is used when there is one, less its own truncation, padding and template: those are the
engine's and the family's business. Otherwise the tokenizer is built from the vocabulary files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from zoo.contracts import Encoding, Pieces
from zoo.errors import BadCheckpoint
from zoo.tokenizers.files import add_tokens, decides, from_json, made, options_of, read_bpe, read_lines
from zoo.tokenizers.template import Template

WORDPIECE_CLASSES = ("BertTokenizer", "BertTokenizerFast")
BPE_CLASSES = ("GPT2Tokenizer", "GPT2TokenizerFast")
JOINED = "^ (?=[\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef])"  # a space before Chinese


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


def wordpiece(folder: Path, template: str, pair: str, prompt: str = "A:0", end: str = "") -> SubwordTokenizer:
    """BERT's tokenizer: clean, split Chinese characters, lower-case and strip accents if asked, then WordPiece.

    A family that generates gives `prompt`, the template of a text to be continued, and `end`, the token that ends one.
    As in the reference, tokenizer_config.json decides on case and accents even where tokenizer.json says otherwise,
    unless it names a class that has no such options. Raises BadCheckpoint when neither tokenizer.json nor vocab.txt
    is readable, and for a vocabulary that wants its words cut by another program first.
    """
    options = options_of(folder)
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
    ready = from_json(folder)
    if ready is not None:
        if decides(options) and isinstance(ready.normalizer, normalizers.BertNormalizer):
            ready.normalizer = normalizer
        return _writing(ready, template, pair, prompt, end)
    words = [line.rstrip() for line in read_lines(folder / "vocab.txt")]
    vocabulary = {word: index for index, word in enumerate(words)}
    specials = [word for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if word in vocabulary]
    if "[UNK]" not in specials:
        raise BadCheckpoint(f"{folder / 'vocab.txt'} has no [UNK] and is no BERT vocabulary.")
    model = made(folder, lambda: models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    pipeline = Tokenizer(model)
    pipeline.normalizer = normalizer
    pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pipeline.decoder = decoders.WordPiece(prefix="##")
    pipeline.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in specials])
    add_tokens(pipeline, folder, special=False)
    return _writing(pipeline, template, pair, prompt, end)


def _writing(pipeline: Tokenizer, template: str, pair: str, prompt: str, end: str) -> SubwordTokenizer:
    """A WordPiece pipeline as a tokenizer; one that generates writes Chinese without a space before each character."""
    if not end:
        return SubwordTokenizer(pipeline, template, pair)
    pipeline.decoder = decoders.Sequence([decoders.WordPiece(prefix="##"), decoders.Replace(Regex(JOINED), "")])
    return SubwordTokenizer(pipeline, template, pair, pipeline.token_to_id(end), prompt=prompt)


def has_wordpiece(folder: Path, declared: str | None) -> bool:
    """Whether a checkpoint of a family that is also published with BERT's tokenizer has that one.

    The class that tokenizer_config.json names decides, or the one that config.json names (`declared`); without a
    class that says it, the vocabulary files that are there, and where there is only a tokenizer.json, its model.
    """
    name = options_of(folder).get("tokenizer_class") or declared
    if name in WORDPIECE_CLASSES or name in BPE_CLASSES:
        return name in WORDPIECE_CLASSES
    if (folder / "vocab.json").is_file() or (folder / "vocab.txt").is_file():
        return not (folder / "vocab.json").is_file()
    ready = from_json(folder)
    return ready is not None and isinstance(ready.model, models.WordPiece)


def byte_level_bpe(folder: Path, end: int | None, template: str = "A:0", pair: str = "A:0 B:0") -> SubwordTokenizer:
    """GPT-2's tokenizer: bytes as letters, split by its regular expression, then BPE.

    As in the reference, tokenizer_config.json decides whether a space is put before the text (`add_prefix_space`).
    Raises BadCheckpoint when neither tokenizer.json nor vocab.json with merges.txt is readable.
    """
    options = options_of(folder)
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=bool(options.get("add_prefix_space", False)))
    pipeline = from_json(folder)
    if pipeline is not None:
        if decides(options) and isinstance(pipeline.pre_tokenizer, pre_tokenizers.ByteLevel):
            pipeline.pre_tokenizer = splitter
    else:
        vocabulary, merges = read_bpe(folder / "vocab.json", folder / "merges.txt")
        pipeline = Tokenizer(made(folder, lambda: models.BPE(vocabulary, merges)))
        pipeline.pre_tokenizer = splitter
        pipeline.decoder = decoders.ByteLevel()
        if "<|endoftext|>" in vocabulary:
            pipeline.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
        add_tokens(pipeline, folder, special=False)
    if end is None:
        end = pipeline.token_to_id("<|endoftext|>")
    return SubwordTokenizer(pipeline, template, pair, end)


def word_end_bpe(folder: Path) -> Tokenizer:
    """GPT's tokenizer: clean, lower-case, strip accents, split at spaces and marks, then BPE with </w> at word ends.

    The original used spaCy and ftfy to split and clean; the published tokenizer.json and the reference have BERT's
    rules instead. Tokens that fine-tuning added are taken from added_tokens.json, or from special_tokens.txt of 2019.
    Raises BadCheckpoint when neither tokenizer.json nor a vocabulary with its merges is readable.
    """
    pipeline = from_json(folder)
    if pipeline is not None:
        return pipeline
    own = (folder / "encoder_bpe_40000.json").is_file()  # OpenAI's names of the same files
    files = ("encoder_bpe_40000.json", "vocab_40000.bpe") if own else ("vocab.json", "merges.txt")
    vocabulary, merges = read_bpe(folder / files[0], folder / files[1])
    model = made(folder, lambda: models.BPE(vocabulary, merges, unk_token="<unk>", end_of_word_suffix="</w>"))
    pipeline = Tokenizer(model)
    pipeline.normalizer = normalizers.BertNormalizer(lowercase=True)
    pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pipeline.decoder = decoders.BPEDecoder(suffix="</w>")
    if "<unk>" in vocabulary:
        pipeline.add_special_tokens([AddedToken("<unk>", special=True, normalized=False)])
    add_tokens(pipeline, folder)
    return pipeline
