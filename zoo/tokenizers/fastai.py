"""fastai's way from text to words: rules that tidy the text and mark capitals and repetitions, then words, then ids.

Every rule works on a text that remembers, for each character, the part of the original it stands for; so every token
has its place in the original. A marker (xxmaj, xxup) has the place of the word it marks; xxrep and xxwrep, their count
and what is repeated have the place of the whole repetition. The rules of three generations differ, and with them the
markers in the vocabulary:

- "2", of fastai 2 (fastai/text/core.py); fastai itself leaves the last rule, "▁" for spaces inside of a token, out
  when it predicts; here it is applied as when the vocabulary was made
- "1", of fastai 1 (fastai/text/transform.py), which marks capitals after words are cut
- "0.7", of the paper's code (fastai/text.py and courses/dl2/imdb_scripts/create_toks.py, 2018)

Words are cut by zoo/tokenizers/words.py: by spaCy as in fastai, or without it by an expression that cuts running text
alike. A checkpoint that learnt from words cut by the expression says so, and is read so wherever it runs.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from zoo.contracts import Encoding, Pieces
from zoo.errors import BadCheckpoint
from zoo.tokenizers import words
from zoo.tokenizers.template import Template
from zoo.weights.formats import read_json

KIND = "fastai"  # of our own tokenizer.json
PAIR = "xxbos:0 xxfld:0 1:0 A:0 xxfld:0 2:0 B:1"  # fastai's way to put several fields in one text (`mark_fields`)
SPLITS: dict[str, Callable[[str], words.Spans]] = {
    "spacy": lambda text: words.split(text),  # where it is installed; what checkpoints of fastai were made with
    "expression": words.by_expression,
}


@dataclass(frozen=True)
class Aligned:
    """A text, and for each of its characters where the part of the original begins and ends that it stands for."""

    text: str
    begins: list[int]
    ends: list[int]

    @staticmethod
    def of(text: str) -> Aligned:
        """The original itself."""
        return Aligned(text, list(range(len(text))), list(range(1, len(text) + 1)))

    def __getitem__(self, part: slice) -> Aligned:
        return Aligned(self.text[part], self.begins[part], self.ends[part])

    def __add__(self, other: Aligned) -> Aligned:
        return Aligned(self.text + other.text, self.begins + other.begins, self.ends + other.ends)

    def span(self) -> tuple[int, int]:
        """Its place in the original."""
        return (self.begins[0], self.ends[-1]) if self.text else (0, 0)

    def saying(self, text: str) -> Aligned:
        """Other words that stand for the same place."""
        begin, end = self.span()
        return Aligned(text, [begin] * len(text), [end] * len(text))

    def lower(self) -> Aligned:
        """In small letters; a letter may become two."""
        small = self.text.lower()
        if len(small) == len(self.text):
            return Aligned(small, self.begins, self.ends)
        counts = [len(letter.lower()) for letter in self.text]
        begins = [b for b, count in zip(self.begins, counts, strict=True) for _ in range(count)]
        ends = [e for e, count in zip(self.ends, counts, strict=True) for _ in range(count)]
        return Aligned(small, begins, ends)

    def strip(self) -> Aligned:
        """Without white space around it."""
        begin = len(self.text) - len(self.text.lstrip())
        return self[begin : len(self.text.rstrip())] if self.text.strip() else self[:0]

    def sub(self, pattern: re.Pattern[str], new: Callable[[Aligned, re.Match[str]], Aligned]) -> Aligned:
        """With every match of `pattern` replaced by what `new(self, match)` gives."""
        text: list[str] = []
        begins: list[int] = []
        ends: list[int] = []
        done = 0
        for match in pattern.finditer(self.text):
            for part in (self[done : match.start()], new(self, match)):
                text.append(part.text)
                begins += part.begins
                ends += part.ends
            done = match.end()
        if not done:
            return self
        rest = self[done:]
        return Aligned("".join(text) + rest.text, begins + rest.begins, ends + rest.ends)


Rule = Callable[[Aligned], Aligned]
Token = tuple[str, tuple[int, int]]  # and its place in the original


def _whole(t: Aligned, match: re.Match[str], group: int = 0) -> Aligned:
    return t[slice(*match.span(group))]


def _say(pattern: str, text: str) -> Rule:
    """A rule that puts `text` for every `pattern`, in which $ stands for the first group, kept as it is."""
    compiled = re.compile(pattern)
    before, kept, after = text.partition("$")

    def new(t: Aligned, match: re.Match[str]) -> Aligned:
        place = _whole(t, match)
        return place.saying(before) + _whole(t, match, 1) + place.saying(after) if kept else place.saying(text)

    return lambda t: t.sub(compiled, new)


def _as(new: str, t: Aligned, match: re.Match[str]) -> Aligned:
    return _whole(t, match).saying(new)


def _replace(*pairs: tuple[str, str]) -> Rule:
    """A rule that replaces strings, one after the other."""

    def rule(t: Aligned) -> Aligned:
        for old, new in pairs:
            if old in t.text:
                t = t.sub(re.compile(re.escape(old)), partial(_as, new))
        return t

    return rule


_REFERENCE = re.compile(r"&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)")  # as in HTML 5


def _unescape(t: Aligned) -> Aligned:
    return t.sub(_REFERENCE, lambda t, m: _whole(t, m).saying(html.unescape(m[0]))) if "&" in t.text else t


def _repeated(pattern: str, marker: str, count: Callable[[re.Match[str]], int]) -> Rule:
    """A rule that says how often the first group is repeated; a third group comes after it and is kept."""
    compiled = re.compile(pattern)

    def new(t: Aligned, match: re.Match[str]) -> Aligned:
        kept = _whole(t, match, 3) if compiled.groups == 3 else t[:0]
        place = t[match.start(1) : match.end() - len(kept.text)]
        return place.saying(f" {marker} {count(match)} {match[1]} ") + kept

    return lambda t: t.sub(compiled, new)


def _capitals(pattern: str, marker: str) -> Rule:
    """A rule that makes words small and puts a marker before those of two letters or more."""
    compiled = re.compile(pattern)

    def new(t: Aligned, match: re.Match[str]) -> Aligned:
        word = _whole(t, match, 2)
        mark = word.saying(f"{marker} ") if len(match[2]) > 1 else t[:0]
        return _whole(t, match, 1) + mark + word.lower()

    return lambda t: t.sub(compiled, new)


_MESS = (("#39;", "'"), ("amp;", "&"), ("#146;", "'"), ("nbsp;", " "), ("#36;", "$"), ("\\n", "\n"), ("quot;", "'"),
         ("<br />", "\n"), ('\\"', '"'))  # fmt: skip
_SPACES = _say(" {2,}", " ")
_CHARACTERS_1 = _repeated(r"(\S)(\1{3,})", "xxrep", lambda m: len(m[2]) + 1)
_WORDS_1 = _repeated(r"(\b\w+\W+)(\1{3,})", "xxwrep", lambda m: len(m[2].split()) + 1)

RULES: dict[str, tuple[Rule, ...]] = {  # before words are cut
    "2": (
        _replace(*_MESS, ("<unk>", "xxunk"), (" @.@ ", "."), (" @-@ ", "-"), ("...", " …")),
        _unescape,
        _repeated(r"(\S)(\1{2,})", "xxrep", lambda m: len(m[2]) + 1),
        _repeated(r"(?:\s|^)(\w+)\s+((?:\1\s+)+)\1(\s|\W|$)", "xxwrep", lambda m: len(m[2].split()) + 2),
        _say(r"([/#\\])", " $ "),
        _SPACES,
        _capitals(r"(\s|^)([A-Z][^a-z\s]*)(?=\s|$)", "xxup"),
        _capitals(r"(\s|^)([A-Z][^A-Z\s]*)(?=\s|$)", "xxmaj"),
        lambda t: t.lower().strip(),
    ),
    "1": (
        _replace(*_MESS, ("<unk>", "xxunk"), (" @.@ ", "."), (" @-@ ", "-"), (" @,@ ", ","), ("\\", " \\ ")),
        _unescape,
        _SPACES,
        _CHARACTERS_1,
        _WORDS_1,
        _say(r"([/#\n])", " $ "),
        _SPACES,
    ),
    "0.7": (
        _replace(*_MESS, ("<unk>", "u_n"), (" @.@ ", "."), (" @-@ ", "-"), ("\\", " \\ ")),
        _unescape,
        _SPACES,
        _repeated(r"(\S)(\1{3,})", "tk_rep", lambda m: len(m[2]) + 1),
        _repeated(r"(\b\w+\W+)(\1{3,})", "tk_wrep", lambda m: len(m[2].split()) + 1),
        lambda t: t.sub(re.compile(r"\w+|\W+"), _shouted),
        _say(r"([/#])", " $ "),
        _SPACES,
        _say(r"(?i)<\s*br\s*/?>", "\n"),
    ),
}
BEGIN = {"2": "xxbos ", "1": "xxbos ", "0.7": "\nxbos xfld 1 "}  # what stands before a text while the rules go over it
TEMPLATE = {"2": "xxbos:0 A:0", "1": "xxbos:0 A:0", "0.7": r"\n:0 xbos:0 xfld:0 1:0 A:0"}
UNKNOWN = {"2": "xxunk", "1": "xxunk", "0.7": "_unk_"}
SILENT = {"xxpad", "xxbos", "xxeos", "xxfld", "xxfake", "_pad_", "xbos", "xfld"}  # of a text: nothing to be read
CAPITALS = {"xxmaj", "xxup", "t_up"}
REPEATS = {"xxrep", "xxwrep", "tk_rep", "tk_wrep"}
MOST_REPEATED = 100  # a model may say any number
GLUED = re.compile(r"(?:[.,;:!?%)\]}…]+|n['’]t|['’](?:s|m|d|re|ve|ll))", re.IGNORECASE)  # to the word before
OPENING = re.compile(r"[(\[{$£€#]")  # to the word after


def _shouted(t: Aligned, match: re.Match[str]) -> Aligned:
    word = _whole(t, match)
    return word.saying(" t_up ") + word.lower() if match[0].isupper() and len(match[0]) > 2 else word.lower()


def cut(text: str, rules: str, split: str = "spacy") -> list[Token]:
    """The tokens of a text by the rules of one generation, without those that begin every text."""
    begin = BEGIN[rules] if rules != "2" else ""  # version 2 puts it there when all is done
    t = Aligned(begin, [0] * len(begin), [0] * len(begin)) + Aligned.of(text)
    for rule in RULES[rules]:
        t = rule(t)
    tokens = [(t.text[i:j], t[i:j].span()) for i, j in with_spaces(t.text, split)]
    tokens = tokens[len(with_spaces(begin, split)) :]
    if rules == "1":
        return [marked for token in tokens for marked in _deal_caps(*token)]
    return [(token.replace(" ", "▁"), place) for token, place in tokens] if rules == "2" else tokens


def with_spaces(text: str, split: str = "spacy") -> words.Spans:
    """The words of `text`, and white space as spaCy gives it: tokens of its own, but for one space after a word."""
    runs = []
    for match in re.finditer(r"\s+", text):
        begin = match.start() + (match.start() > 0 and match[0].startswith(" "))
        if begin < match.end():
            runs.append((begin, match.end()))
    return sorted(SPLITS[split](text) + runs)


def _deal_caps(token: str, place: tuple[int, int]) -> list[Token]:
    if len(token) > 1 and token.isupper():
        return [("xxup", place), (token.lower(), place)]
    if len(token) > 1 and token[0].isupper() and token[1:].islower():
        return [("xxmaj", place), (token.lower(), place)]
    return [(token.lower(), place)]


class FastaiTokenizer:
    """The rules of a generation and the vocabulary of a checkpoint. Thread-safe: nothing changes once it is made.

    `pair` is the template of two texts, for checkpoints that were trained on pairs; `split` names how words are cut.
    """

    def __init__(self, vocabulary: Sequence[str], rules: str, pair: str | None = None, split: str = "spacy") -> None:
        if rules not in RULES or not all(isinstance(token, str) for token in vocabulary):
            raise BadCheckpoint(f"{rules!r} are no rules of fastai; there are {', '.join(map(repr, RULES))}.")
        if split not in SPLITS or pair not in (None, PAIR):
            raise BadCheckpoint(
                f"Words are cut by {' or '.join(SPLITS)}, not by {split!r}; pairs are written {PAIR!r}, not {pair!r}."
            )
        self._tokens = tuple(vocabulary)
        self._ids = {token: index for index, token in enumerate(self._tokens)}
        self._rules = rules
        begins = rules != "0.7" or {"\n", "xbos", "xfld", "1"} <= self._ids.keys()
        template = TEMPLATE[rules] if begins else "A:0"  # in 2018 each project began its texts as it liked
        self._unknown = self._id(UNKNOWN[rules])
        self._template = Template.parse(template, lambda name: self._id(name.replace(r"\n", "\n")))
        self._written = {"pair": pair, "split": split}
        self._pair = Template.parse(pair, self._id) if pair is not None else None
        self._split = split
        self.vocabulary = len(self._tokens)
        self.unsaid = (self._unknown,)  # as fastai's own LMLearner.predict, no_unk=True
        self.end = self._ids.get("xxbos")  # training text after text taught that the next one begins, never xxeos

    def splitter(self) -> str:
        """By which rules words are cut here."""
        return words.splitter() if self._split == "spacy" else "a regular expression (as when it was trained)"

    def pieces(self, text: str) -> Pieces:
        """Cut `text`, without the tokens that begin every text."""
        tokens = cut(text, self._rules, self._split)
        return Pieces(
            tuple(self._ids.get(token, self._unknown) for token, _ in tokens), tuple(place for _, place in tokens)
        )

    def assemble(self, first: Pieces, second: Pieces | None = None) -> Encoding:
        """Put one text or two into the template; where there is none for pairs, a second one follows the first."""
        if second is not None and self._pair is not None:
            return self._pair.assemble(first, second)
        return self._template.assemble(first if second is None else first + second, None)

    def question(self, question: Pieces, passage: Pieces) -> Encoding:
        """A question and its passage, one after the other, so that the passage is read with the question in mind."""
        return self.assemble(question, passage)

    def prompt(self, text: Pieces) -> Encoding:
        """A text that is to be continued: begun like any other."""
        return self._template.assemble(text, None)

    def reread(self, index: int) -> int:
        """A generated token as input: the id itself."""
        return index

    def extras(self, pair: bool) -> int:
        """How many tokens begin every text, or stand before and between two."""
        return self._pair.extras if pair and self._pair is not None else self._template.extras

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids: markers are carried out, marks stand close to their words, unknown words are <unk>."""
        return join(self._spoken([self._tokens[i] for i in ids]))

    def token(self, index: int) -> str:
        """The vocabulary's own spelling of one id."""
        return self._tokens[index] if 0 <= index < len(self._tokens) else ""

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, in a form of our own."""
        written = {"type": KIND, "rules": self._rules, **self._written, "vocabulary": self._tokens}
        (folder / "tokenizer.json").write_text(json.dumps(written, ensure_ascii=False) + "\n", encoding="utf-8")

    def _id(self, token: str) -> int:
        if token not in self._ids:
            raise BadCheckpoint(f"The vocabulary has no {token}, which fastai's rules need.")
        return self._ids[token]

    def _spoken(self, tokens: Sequence[str]) -> list[str]:
        """Tokens as words: what xxmaj, xxup, xxrep and xxwrep say is done; alone at the end they say nothing."""
        said: list[str] = []
        count, letters, capital = 1, False, ""
        waiting = False  # for the count of a repetition
        for token in tokens:
            if token in CAPITALS:
                capital = token
            elif token in REPEATS:
                count, letters, waiting = 1, token in ("xxrep", "tk_rep"), True
            elif waiting and token.isdecimal():
                count, waiting = min(int(token), MOST_REPEATED), False
            elif token not in SILENT:
                word = "<unk>" if token == UNKNOWN[self._rules] else token.replace("▁", " ")
                word = word.upper() if capital in ("xxup", "t_up") else word[:1].upper() + word[1:] if capital else word
                said += [word * count] if letters else [word] * count
                count, letters, capital, waiting = 1, False, "", False
        return said


def join(said: Sequence[str]) -> str:
    """Words and marks as a text: a space before a word, none before what is glued to it or after what opens.

    Capitals of words of one letter are lost: fastai puts no marker before them.
    """
    text, quoted = "", False
    for word in said:
        opens = OPENING.fullmatch(word) is not None or (word == '"' and not quoted)
        close = GLUED.fullmatch(word) is not None or (word == '"' and quoted) or word.isspace()
        text += word if close or not text or text[-1].isspace() or text.endswith("\0") else f" {word}"
        text += "\0" if opens else ""  # nothing between it and what follows
        quoted ^= word == '"'
    return text.replace("\0", "")


def fastai_tokenizer(folder: Path, vocabulary: Sequence[str], rules: str | None) -> FastaiTokenizer:
    """From the vocabulary that came with the weights, or from our own tokenizer.json. Raises BadCheckpoint."""
    if vocabulary:
        assert rules is not None, "whoever reads a vocabulary says which rules go with it"
        return FastaiTokenizer(vocabulary, rules)
    ready = read_json(folder / "tokenizer.json")
    if ready.get("type") != KIND or not isinstance(ready.get("vocabulary"), list):
        raise BadCheckpoint(f"{folder / 'tokenizer.json'} is no tokenizer of fastai's words as this zoo writes them.")
    pair, split = ready.get("pair"), ready.get("split", "spacy")  # older files of ours say neither
    return FastaiTokenizer(
        ready["vocabulary"], str(ready.get("rules")), None if pair is None else str(pair), str(split)
    )
