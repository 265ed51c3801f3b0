"""What GPT reads: its tokenizer, and the paper's inputs for each kind of task against the reference's hidden states."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer

from tests.parity.conftest import ITSELF
from tests.parity.reference import (
    SHARED,
    TEXTS,
    load,
)
from tests.parity.strings import NASTY
from tests.parity.test_gpt import LONGEST, SHAPES, VOCABULARY, make
from tests.published import gpt as published
from zoo import Engine
from zoo.contracts import Batch, HeadSpec
from zoo.errors import BadCheckpoint, InputEmpty
from zoo.family import Model
from zoo.models import gpt
from zoo.models.shelf import FAMILIES
from zoo.sampling import Sampling
from zoo.training.export import export
from zoo.weights.layout import Opened
from zoo.weights.load import load_folder


def read_by_the_reference(folder: Path, body: Any, *texts: str) -> Tensor:
    """The last layer at _classify_ behind one text or two, put together by hand: [D]."""
    read = AutoTokenizer.from_pretrained(folder)
    start, delimiter, classify = (VOCABULARY + index for index in range(3))
    cut = [read(text, add_special_tokens=False)["input_ids"] for text in texts]
    ids = [start, *cut[0], *([delimiter, *cut[1]] if len(cut) == 2 else []), classify]
    return body(torch.tensor([ids])).last_hidden_state[0, -1]


PAIRS = [("the cat sat", "it is on the mat"), ("is it?", "who?"), ("a", "the old town, 1997"), ("é", "the cat sat")]


def with_heads(model: Model, folder: Path) -> Model:
    """The body of a model with a similarity head of two labels and one of a number, in this project's own layout."""
    heads = {"alike": HeadSpec("similarity", ("no", "yes")), "degree": HeadSpec("similarity", ("degree",))}
    network = gpt.build(model.config, heads).eval()
    network.body.load_state_dict(model.network.body.state_dict())
    export(folder, gpt.FAMILY, model.config, network, heads, model.tokenizer, quantized=False)
    return load(folder)


@pytest.mark.parametrize("shape", SHAPES)
def test_similarity_is_read_both_ways(shape: str, tmp_path: Path, parity: Any) -> None:
    """W(h_ab + h_ba) + b, in whatever order the pair is given."""
    theirs, ours = make("model", shape, tmp_path / "body", added=published.ADDED, tie_word_embeddings=True)
    own = with_heads(ours, tmp_path / "own")
    assert own.config == ours.config and asdict(own.config)["n_special"] == 0
    for name in ("alike", "degree"):
        out = own.network.heads[name].out
        found = Engine().similar(str(tmp_path / "own"), name, PAIRS)
        turned = Engine().similar(str(tmp_path / "own"), name, [(b, a) for a, b in PAIRS])
        for (a, b), one, other in zip(PAIRS, found, turned, strict=True):
            ways = [read_by_the_reference(tmp_path / "body", theirs, *way) for way in ((a, b), (b, a))]
            parity("gpt similarity", torch.tensor(one.scores), out.weight @ (ways[0] + ways[1]) + out.bias)
            parity("gpt either order", torch.tensor(one.scores), torch.tensor(other.scores), reference=ITSELF)
            assert one.labels == own.heads[name].labels


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_are_compared(shape: str, tmp_path: Path, parity: Any) -> None:
    """One text for each answer, each read at its end; the scores of a row make one distribution."""
    theirs, _ = make("choice", shape, tmp_path, added=published.ADDED)
    head = theirs.multiple_choice_head.summary
    rows = [(a, [b for _, b in PAIRS[: 2 + index]]) for index, (a, _) in enumerate(PAIRS[:3])]
    found = Engine().choose(str(tmp_path), None, rows)
    for (context, answers), one in zip(rows, found, strict=True):
        ends = [read_by_the_reference(tmp_path, theirs.transformer, context, answer) for answer in answers]
        scores = torch.stack([head.weight[0] @ end + head.bias[0] for end in ends])
        parity("gpt choice from text", torch.tensor(one.probabilities), scores.softmax(0))
        assert len(one.read) == len(answers) and not any(read.cut for pair in one.read for read in pair)


@pytest.mark.parametrize("shape", SHAPES)
def test_classification_and_entailment(shape: str, tmp_path: Path, parity: Any) -> None:
    """_start_ A _classify_ for one text, _start_ A _delimiter_ B _classify_ for two."""
    theirs, ours = make("classifier", shape, tmp_path, added=published.ADDED)
    cut = ours.tokenizer.pieces
    for texts in [(a,) for a, _ in PAIRS] + PAIRS:
        encoding = ours.tokenizer.assemble(*map(cut, texts))
        assert encoding.summary == len(encoding) - 1
        end = read_by_the_reference(tmp_path, theirs.transformer, *texts)
        parity("gpt classifier from text", ours.network(Batch.of([encoding]), "classifier")[0], theirs.score(end))


def test_without_the_three_tokens_texts_stand_as_they_are(tmp_path: Path, parity: Any) -> None:
    """As the reference's tokenizer puts them, one text or two."""
    theirs, ours = make("classifier", "gelu", tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    for texts in [(text,) for text in filter(None, TEXTS)] + PAIRS:
        encoding = ours.tokenizer.assemble(*map(ours.tokenizer.pieces, texts))
        assert list(encoding.ids) == read(*texts)["input_ids"]
        logits = theirs(torch.tensor([encoding.ids])).logits
        parity("gpt classifier from text", ours.network(Batch.of([encoding]), "classifier"), logits)
    with pytest.raises(InputEmpty, match="no character"):
        Engine().classify(str(tmp_path), None, [("a", None), ("\u200b", None)])


# The tokenizer.


def same(ours: Any, theirs: Any, texts: Sequence[str]) -> int:
    """Assert equal ids, offsets and decoded text; returns how many tokens were compared."""
    count = 0
    for text in texts:
        pieces, read = ours.pieces(text), theirs(text, return_offsets_mapping=True, add_special_tokens=False)
        assert list(pieces.ids) == read["input_ids"], repr(text[:100])
        assert list(pieces.offsets) == [tuple(pair) for pair in read["offset_mapping"]], repr(text[:100])
        assert ours.decode(pieces.ids) == theirs.decode(pieces.ids, skip_special_tokens=True), repr(text[:100])
        count += len(pieces)
    return count


@pytest.mark.parametrize("form", ["vocab.json", "tokenizer.json too", "names of OpenAI"])
@pytest.mark.parametrize("added", [(), published.ADDED], ids=["plain", "fine-tuned"])
def test_tokenizer(added: Sequence[str], form: str, tmp_path: Path) -> None:
    """Nasty texts through both; from all forms of the files, and again from what we saved."""
    size = published.write_vocabulary(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(published.config_of(size)), encoding="utf-8")
    if added:
        tokens = {token: size + index for index, token in enumerate(added)}
        (tmp_path / "added_tokens.json").write_text(json.dumps(tokens), encoding="utf-8")
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    if added:
        theirs.add_special_tokens({"additional_special_tokens": list(added)})
        assert [theirs.convert_tokens_to_ids(token) for token in added] == [size, size + 1, size + 2]
    if form == "tokenizer.json too":
        theirs.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    elif form == "names of OpenAI":
        (tmp_path / "vocab.json").rename(tmp_path / "encoder_bpe_40000.json")
        (tmp_path / "merges.txt").rename(tmp_path / "vocab_40000.bpe")
    config = gpt.GptConfig(size, LONGEST, 8, 1, 1)
    ours = gpt.read_tokenizer(Opened(tmp_path), config)
    texts = [*NASTY, "_start_ a _delimiter_b_classify_", "_start_the</w>"]
    assert same(ours, theirs, texts) > 10_000
    assert ours.vocabulary == size + len(added)
    assert (ours.extras(False), ours.extras(True)) == ((2, 3) if added else (0, 0))
    (tmp_path / "saved").mkdir()
    ours.save(tmp_path / "saved")
    again = gpt.read_tokenizer(Opened(tmp_path / "saved"), config)
    for text in texts:
        pieces = ours.pieces(text)
        assert again.pieces(text) == pieces
        assert again.assemble(pieces, pieces) == ours.assemble(pieces, pieces)
        assert again.prompt(pieces) == ours.prompt(pieces)


def test_prompt_begins_as_the_training_texts_did(tmp_path: Path) -> None:
    """Fine-tuning learnt the language model beside the task, on texts that begin with _start_ (section 3.2)."""
    _, ours = make("choice", "gelu", tmp_path, added=published.ADDED)
    pieces = ours.tokenizer.pieces("the cat")
    assert ours.tokenizer.prompt(pieces).ids == (VOCABULARY, *pieces.ids)


@pytest.mark.parametrize(
    "wrong", [{"_start_": VOCABULARY + 1}, {"_start_": 5}, {"_start_": "99"}, {"_start_": VOCABULARY, "x": VOCABULARY}]
)
def test_added_tokens_that_do_not_fit_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    """An id that leaves a gap, is taken, is no number, or is given twice."""
    published.write_vocabulary(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps(wrong), encoding="utf-8")
    with pytest.raises(BadCheckpoint, match="added_tokens"):
        gpt.read_tokenizer(Opened(tmp_path), gpt.GptConfig(VOCABULARY, LONGEST, 8, 1, 1))


@pytest.mark.parametrize("form", ["safetensors", "bin", "old bin"])
@pytest.mark.parametrize("kind", published.KINDS)
def test_published_layouts(kind: str, form: str, tmp_path: Path) -> None:
    """Each layout in which repositories of this family lie on the Hub loads and answers."""
    published.repository(tmp_path, kind, ("a", "b", "c"), form)
    ours = load_folder(tmp_path, FAMILIES, assumed="gpt")
    heads = {"lm": {"lm"}, "classifier": {"classifier"}}
    assert set(ours.heads) == heads.get(kind, {"lm", "choice"})
    assert ours.tokenizer.vocabulary == gpt.FAMILY.vocabulary(ours.config)
    engine = Engine(open_model=lambda name, progress: ours)
    if kind == "classifier":
        (found,) = engine.classify("it", None, [("the cat", "sat")])
        assert found.labels == ("a", "b", "c")
    elif kind != "lm":
        (chosen,) = engine.choose("it", None, [("the cat", ["sat", "is", "on the mat"])])
        assert sum(chosen.probabilities) == pytest.approx(1)
    if kind != "classifier":
        assert len(list(engine.generate("it", None, "the cat", " sat", 5, Sampling()))) == 5


needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder shared/data is not here")


@needs_shared
def test_published_vectors(tmp_path: Path, parity: Any) -> None:
    """Two texts with the ids that AllenNLP gave them, by OpenAI's way: words by spaCy, each cut by BPE.

    The reference library splits words as BERT does, and published files say so, too. So the second text differs in two
    places: spaCy has "has n't" for "hasn't", and leaves "@oovtoken" in one word.
    """
    shutil.copy(SHARED / "vocab/openai_gpt_encoder_bpe_40000.json", tmp_path / "encoder_bpe_40000.json")
    shutil.copy(SHARED / "vocab/openai_gpt_vocab_40000.bpe", tmp_path / "vocab_40000.bpe")
    ours = gpt.read_tokenizer(Opened(tmp_path), gpt.GptConfig(40_478, 512, 8, 1, 1))
    fixture = SHARED / "fixtures/gpt1_allennlp_openai_transformer"
    texts = (fixture / "text.txt").read_text(encoding="utf-8").splitlines()
    wanted = json.loads((fixture / "indexed_text.json").read_text(encoding="utf-8"))
    assert list(ours.pieces(texts[0]).ids) == wanted[0]
    words = "james realizes one afternoon that he has n't left his house all day . a ! @ # ! @oovtoken"
    cut = [ours._pipeline.model.tokenize(word) for word in [*words.split(), "1234567890551231231231231", "."]]
    ids = [token.id for word in cut for token in word]
    parity("gpt token ids", torch.tensor(ids), torch.tensor(wanted[1]), 0, reference="AllenNLP fixtures")
    mine = list(ours.pieces(texts[1]).ids)
    assert (mine[:6], mine[10:21], mine[22:]) == (wanted[1][:6], wanted[1][8:19], wanted[1][20:])
    assert [ours.token(i) for i in mine[6:10]] == ["has", "n</w>", "'</w>", "t</w>"]
    assert (ours.token(mine[21]), ours.token(wanted[1][19])) == ("@</w>", "@")
