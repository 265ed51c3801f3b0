"""fastai's text rules: the tokens that its own code gave, their places in the original, and the way back to text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.published.ulmfit import SPECIALS
from zoo.errors import BadCheckpoint
from zoo.tokenizers import fastai, words
from zoo.tokenizers.fastai import FastaiTokenizer, cut, fastai_tokenizer

# Made with spaCy 3.8 by fastai 2.8.12, by the text rules of fastai/fastai1 (text/transform.py, commit 15bc02c6), and by
# a transcript of the paper's code, which asks for a spaCy that is no more.
GOLDEN: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "fastai_tokens.json").read_text(encoding="utf-8")
)
MARKERS = {"xxmaj", "xxup", "xxrep", "xxwrep", "t_up", "tk_rep", "tk_wrep"}


def tokenizer(rules: str, texts: list[str]) -> FastaiTokenizer:
    """With every token of these texts in its vocabulary."""
    seen = dict.fromkeys((*SPECIALS[rules], *(token for text in texts for token, _ in cut(text, rules))))
    return FastaiTokenizer(list(seen), rules)


@pytest.fixture(params=["2", "1", "0.7"])
def rules(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_tokens_are_those_of_fastai(rules: str) -> None:
    pytest.importorskip("spacy")
    for row in GOLDEN:
        assert [token for token, _ in cut(row["text"], rules)] == row[rules], row["text"]


def test_without_spacy_running_text_is_cut_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "split", words.by_expression)
    found = " ".join(token for token, _ in cut("The cat DIDN'T sit, did it?\n\nNo, no no no!!!! It's 3.50.", "2"))
    assert found == "xxmaj the cat xxup did n't sit , did it ? \n\n xxmaj no , xxwrep 3 no xxrep 4 ! xxmaj it 's 3.50 ."


def test_every_token_has_its_place(rules: str) -> None:
    """A word's place holds the word; a marker's place is that of what it marks; places never go back."""
    for row in GOLDEN:
        text, last = row["text"], (0, 0)
        repeated = 0
        for token, (begin, end) in cut(text, rules):
            assert 0 <= begin <= end <= len(text)
            assert (begin, end) >= last or begin >= last[0]
            last = (begin, end)
            if token in MARKERS:
                repeated = 2 if token.endswith("rep") and text[begin:end].lower() != token else repeated
                assert end > begin
            elif repeated > 0:
                repeated -= 1
            elif re.fullmatch(r"\w+", token) and not re.search(r"[&;\\<]", text[begin:end]):
                assert text[begin:end].lower() == token, (text, token)


def test_markers_have_the_place_of_what_they_mark() -> None:
    text = "ok GREAT film!!!! no no no no Yes"
    found = [(token, text[begin:end]) for token, (begin, end) in cut(text, "2")]
    assert found == [
        ("ok", "ok"), ("xxup", "GREAT"), ("great", "GREAT"), ("film", "film"), ("xxrep", "!!!!"), ("4", "!!!!"),
        ("!", "!!!!"), ("xxwrep", "no no no no"), ("4", "no no no no"), ("no", "no no no no"), ("xxmaj", "Yes"),
        ("yes", "Yes"),
    ]  # fmt: skip


def test_texts_begin_as_in_training(rules: str) -> None:
    made = tokenizer(rules, ["a cat"])
    begin = {"2": ["xxbos"], "1": ["xxbos"], "0.7": ["\n", "xbos", "xfld", "1"]}[rules]
    for encoding in (made.assemble(made.pieces("a cat")), made.prompt(made.pieces("a cat"))):
        assert [made.token(i) for i in encoding.ids] == [*begin, "a", "cat"]
        assert encoding.sources == (-1,) * len(begin) + (0, 0)
    assert made.extras(False) == len(begin)
    assert made.end == (None if rules == "0.7" else made._ids["xxbos"])
    assert len(made.assemble(made.pieces("")).ids) == len(begin)


def test_a_vocabulary_of_2018_without_the_words_that_begin_a_text() -> None:
    made = FastaiTokenizer(["_unk_", "_pad_", "cat"], "0.7")
    assert made.extras(False) == 0
    assert made.assemble(made.pieces("A cat")).ids == (0, 2)


def test_unknown_words() -> None:
    made = tokenizer("2", ["a cat"])
    assert [made.token(i) for i in made.pieces("a dog").ids] == ["a", "xxunk"]
    assert made.decode(made.pieces("a dog").ids) == "a <unk>"
    assert made.token(10_000) == made.token(-1) == ""


@pytest.mark.parametrize(
    "text",
    [
        "The cat sat on the MAT, did it?",
        "It's what they'll say; we don't (really) know!!!!",
        'She said "no no no no" and left.',
        "The price of $5 and 50%.\n\nOne new line.",
    ],
)
def test_there_and_back(text: str) -> None:
    made = tokenizer("2", [text])
    assert made.decode(made.assemble(made.pieces(text)).ids) == text


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("xxmaj", ""), ("4 a", "4 a"), ("xxmaj xxup nasa", "NASA"), ("xxrep 3", ""), ("xxwrep 3 xxup ha", "HA HA HA"),
        ("xxrep x !", "x!"),
        ("xxrep 999999999 ! a", "!" * 100 + " a"), ("xxwrep 2 ha", "ha ha"),
        ("xxbos xxmaj hi xxeos xxpad", "Hi"), ("xxup xxmaj xxbos a", "A"),
    ],
)  # fmt: skip
def test_markers_that_a_model_makes_up(tokens: str, text: str) -> None:
    made = tokenizer("2", ["x ! a ha hi nasa"])
    vocabulary = list(dict.fromkeys([*made._tokens, *tokens.split()]))
    made = FastaiTokenizer(vocabulary, "2")
    assert made.decode([vocabulary.index(token) for token in tokens.split()]) == text


def test_saved_and_read_again(rules: str, tmp_path: Path) -> None:
    texts = [row["text"] for row in GOLDEN]
    made = tokenizer(rules, texts)
    made.save(tmp_path)
    again = fastai_tokenizer(tmp_path, (), None)
    assert (again.vocabulary, again.end) == (made.vocabulary, made.end)
    for text in texts:
        assert again.pieces(text) == made.pieces(text)


@pytest.mark.parametrize(
    "written",
    ["{}", '{"type": "fastai"}', '{"type": "fastai", "rules": "3", "vocabulary": ["xxunk", "xxbos"]}',
     '{"type": "fastai", "rules": "2", "vocabulary": ["a"]}', '{"type": "fastai", "rules": "2", "vocabulary": [1]}'],
)  # fmt: skip
def test_files_that_are_no_such_tokenizer(written: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(written, encoding="utf-8")
    with pytest.raises(BadCheckpoint):
        fastai_tokenizer(tmp_path, (), None)


@pytest.mark.slow
def test_long_and_hostile_texts_take_no_longer(rules: str) -> None:
    """The original's expressions take the square of a text's length for some of these."""
    for text in ("AB" * 25_000 + "b", "!" * 50_000, "a " * 25_000, "&" * 50_000, "a" + " " * 49_000, "x.\n" * 16_000):
        assert cut(text, rules)
        assert fastai.with_spaces(text)
