"""What speaks for an answer, what changes without a word, and the least words that keep it, for every family."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tasks import classify, explain, nli
from tests import nets
from zoo import Engine
from zoo.engine.words import METHODS, words
from zoo.errors import BadParameter, Unsupported

PAIR = ("The cat sat on a mat.", "The dog is not asleep.")
QUESTION = ("Where is the cat?", "The dog sat. The cat sat on a mat; the cat is asleep.")
TEXTS = {"nli": PAIR, "classify": PAIR[:1], "qa": QUESTION, "summarize": QUESTION[1:]}
HEADS = {"nli": "nli", "classify": "topic", "qa": "qa", "summarize": "lm"}
TASKS = [(family, task) for family in nets.FAMILIES for task in TEXTS if (family, task) != ("bert", "summarize")]
OPTIONS = {"summarize": {"max_new_tokens": 4}, "qa": {"allow_no_answer": False}}


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    made = {name: build() for name, build in nets.FAMILIES.items()}
    return {name: Engine(open_model=lambda _, __, model=model: model) for name, model in made.items()}


@pytest.mark.parametrize(("family", "task"), TASKS)
def test_every_answer_of_every_family_can_be_explained(engines: dict[str, Engine], family: str, task: str) -> None:
    made = explain.why(engines[family], task, "tiny", TEXTS[task], HEADS[task], METHODS[1], **OPTIONS.get(task, {}))
    first = next(iter(made.texts.values()))
    assert [(word.start, word.end) for word in made.attribution.texts[0]] == words(first)
    scores = [word.score for _, word in made.ranked()]
    assert scores == sorted(scores, reverse=True) and scores[0] != scores[-1]
    if task == "qa":
        assert made.explained == made.result.answer
    elif task != "summarize":
        assert made.explained == made.result.answer == made.result.scores[0].label


def test_a_label_in_capitals_is_found_again(engines: dict[str, Engine]) -> None:
    """Published checkpoints spell ENTAILMENT; answers do not."""
    from dataclasses import replace

    from zoo.contracts import HeadSpec

    model = nets.bert_model()
    loud = replace(model, heads=model.heads | {"nli": HeadSpec("classifier", tuple(map(str.upper, nets.NLI)))})
    made = explain.why(Engine(open_model=lambda _, __: loud), "nli", "tiny", PAIR, "nli", METHODS[1])
    assert made.result.answer in nets.NLI


def test_a_token_of_a_summary_is_explained_by_what_stood_before_it(engines: dict[str, Engine]) -> None:
    made = explain.why(
        engines["gpt2"], "summarize", "tiny", TEXTS["summarize"], "lm", METHODS[1], token=2, max_new_tokens=4
    )
    assert made.token == 2 and made.explained == made.result.pieces[2].text
    assert list(made.texts) == ["text", "prompt"]
    with pytest.raises(BadParameter, match="has 4 tokens, counted from 0; 4 is not one"):
        explain.why(engines["gpt2"], "summarize", "tiny", TEXTS["summarize"], "lm", token=4, max_new_tokens=4)


def test_an_unknown_method_is_refused(engines: dict[str, Engine]) -> None:
    with pytest.raises(BadParameter, match=r"'oclusion' is no method\. Did you mean 'occlusion'"):
        explain.why(engines["bert"], "nli", "tiny", PAIR, "nli", "oclusion")


@pytest.mark.parametrize(
    ("by", "changed"),
    [("", "The is not asleep."), ("cat", "The cat is not asleep."), (None, "The … is not asleep.")],
)
def test_what_if_a_word_were_another(engines: dict[str, Engine], by: str | None, changed: str) -> None:
    made = explain.what_if(engines["bert"], "nli", "tiny", PAIR, "hypothesis", 1, by, "nli")
    assert made.changed == changed and made.word == "dog"
    assert made.before.scores == nli.run(engines["bert"], "tiny", *PAIR, head="nli").scores
    assert made.after.scores == nli.run(engines["bert"], "tiny", PAIR[0], changed, head="nli").scores


def test_the_mask_of_a_vocabulary_stands_for_a_hidden_word() -> None:
    assert explain.mask_of(Engine(), "bert-mini") == "[MASK]"
    assert explain.mask_of(Engine(), "gpt-mini") == "…"


def test_words_and_fields_that_are_not_there_are_refused(engines: dict[str, Engine]) -> None:
    with pytest.raises(BadParameter, match="no field 'text'; its fields are premise, hypothesis"):
        explain.what_if(engines["bert"], "nli", "tiny", PAIR, "text", 0, "", "nli")
    with pytest.raises(BadParameter, match="has 6 words; there is none of number 6"):
        explain.what_if(engines["bert"], "nli", "tiny", PAIR, "hypothesis", 6, "", "nli")


@pytest.mark.parametrize(
    ("text", "place", "by", "made"),
    [
        ("a b c", (2, 3), "", "a c"),
        ("a b c", (0, 1), "", "b c"),
        ("a b c", (4, 5), "", "a b "),
        ("a, b", (1, 2), "", "a b"),
        ("a b", (2, 3), "<x>", "a <x>"),
    ],
)
def test_a_word_goes_with_one_space(text: str, place: tuple[int, int], by: str, made: str) -> None:
    assert explain.replaced_word(text, *place, by) == made


@pytest.mark.parametrize(("task", "field"), [("nli", "hypothesis"), ("classify", "text")])
def test_the_least_words_keep_the_answer(engines: dict[str, Engine], task: str, field: str) -> None:
    engine = engines["bert"]
    made = explain.reduce_input(engine, task, "tiny", TEXTS[task], field, HEADS[task])
    before, after = words(made.before), words(made.after)
    assert len(after) == len(before) - len(made.removed) < len(before)
    texts = [*TEXTS[task][:-1], made.after]
    now = (nli if task == "nli" else classify).run(engine, "tiny", *texts, head=HEADS[task])
    assert now.answer == made.answer and now.scores[0].score == pytest.approx(made.probability, abs=1e-5)
    # no shorter text keeps it
    shorter = [explain.replaced_word(made.after, *place, "").strip() for place in after]
    answers = [
        (nli if task == "nli" else classify).run(engine, "tiny", *texts[:-1], text, head=HEADS[task]).answer
        for text in shorter
        if text
    ]
    assert len(after) == 1 or made.answer not in answers


def test_what_cannot_be_reduced_says_so(engines: dict[str, Engine]) -> None:
    with pytest.raises(Unsupported, match="not for qa"):
        explain.reduce_input(engines["bert"], "qa", "tiny", QUESTION, "context", "qa")
    with pytest.raises(BadParameter, match="has 41 words; a text of at most 40"):
        explain.reduce_input(engines["bert"], "classify", "tiny", ["cat " * 41], "text", "topic")


def test_pieces_of_a_summary_grow_with_it(engines: dict[str, Engine]) -> None:
    from tasks import summarize

    steps = list(summarize.stream(engines["gpt2"], "tiny", TEXTS["summarize"][0], "lm", max_new_tokens=4))
    assert [len(step.pieces) for step in steps] == [1, 2, 3, 4][: len(steps)]
    assert all(later.pieces[: len(earlier.pieces)] == earlier.pieces for earlier, later in pairwise(steps))
    assert all(0 < piece.probability <= 1 for piece in steps[-1].pieces)
