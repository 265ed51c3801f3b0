"""Attributions that add up, for every family and kind of head; words, attention, and the tokens that were likely."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import pytest
import torch

from tests import nets
from zoo import Engine
from zoo.contracts import Batch, Encoding
from zoo.engine import reasons
from zoo.engine.explain import replaced, watched, word_of_tokens
from zoo.engine.words import METHODS, Attribution, words
from zoo.errors import BadParameter, InputEmpty, Unsupported
from zoo.sampling import Sampling

PREMISE, HYPOTHESIS = "The cat sat on a mat.", "The dog is not asleep."
QUESTION, PASSAGE = "Where is the cat?", "The dog sat. The cat sat on a mat; the cat is asleep."
SPAN = (PASSAGE.index("on a"), PASSAGE.index("; the"))
MODELS = nets.FAMILIES | {"xlnet, left to right": partial(nets.xlnet_model, "uni")}
FAMILIES = sorted(MODELS)
INTEGRATED, OCCLUSION = METHODS


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    made = {name: build() for name, build in MODELS.items()}
    return {name: Engine(open_model=lambda _, __, model=model: model) for name, model in made.items()}


def explained(engine: Engine, kind: str, method: str) -> Attribution:
    if kind == "nli":
        return reasons.of_label(engine, "tiny", "nli", (PREMISE, HYPOTHESIS), "neutral", method)
    if kind == "topic":
        return reasons.of_label(engine, "tiny", "topic", (PREMISE, None), "Sports", method)
    if kind == "qa":
        return reasons.of_span(engine, "tiny", "qa", QUESTION, PASSAGE, SPAN, method)
    return reasons.of_next(engine, "tiny", "lm", PASSAGE, "\nTL;DR:", [5, 6], 12, method, most=4)


def kinds(family: str) -> list[str]:
    return ["nli", "topic", "qa"] + ["lm"] * (family != "bert")


# Near a text of nothing but zeros what this random network says jumps, so that no steps are enough: see the next test.
JUMPS = ("xlnet, left to right", "lm")


@pytest.mark.parametrize(("family", "kind"), [(f, k) for f in FAMILIES for k in kinds(f) if (f, k) != JUMPS])
def test_integrated_gradients_add_up(engines: dict[str, Engine], family: str, kind: str) -> None:
    made = explained(engines[family], kind, INTEGRATED)
    assert abs(made.value - made.blank) > 0.01, "the words make no difference: nothing is tested"
    assert made.error is not None and made.error < 0.05
    total = sum(word.score for text in made.texts for word in text)
    assert total == pytest.approx(made.value - made.blank, abs=0.05 * abs(made.value - made.blank) + 1e-4)


def test_derivatives_of_what_comes_next_are_those_of_a_small_step() -> None:
    """Of XLNet from left to right, whose keys and values are kept while it reads."""
    model = nets.xlnet_model("uni")
    network = model.network.double()
    ids = model.tokenizer.prompt(model.tokenizer.pieces(PASSAGE)).ids
    batch, body = Batch.continuing([ids], [0]), network.body
    new_state = model.family.new_state
    assert new_state is not None
    vectors = network.embeddings("lm")[0](batch.ids).detach()  # [N, D]

    def said(given: torch.Tensor) -> torch.Tensor:
        with replaced(network.embeddings("lm")[0], given):
            rows = body(batch, new_state(model.config, 1, len(ids) + 1, given)).last
        return network.heads["lm"](rows, batch).log_softmax(-1)[0, 12]

    given = (0.7 * vectors).requires_grad_()
    (slope,) = torch.autograd.grad(said(given), given)
    step = 1e-5
    moved = (said((0.7 + step) * vectors) - said((0.7 - step) * vectors)) / (2 * step)
    moved = moved.detach()
    assert float((slope * vectors).sum()) == pytest.approx(float(moved), rel=1e-4)
    assert abs(float(moved)) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_explained_is_what_the_engine_answers(engines: dict[str, Engine], family: str) -> None:
    engine = engines[family]
    (found,) = engine.classify("tiny", "nli", [(PREMISE, HYPOTHESIS)])
    chance = found.probabilities[found.labels.index("neutral")]
    value = explained(engine, "nli", OCCLUSION).value
    assert torch.sigmoid(torch.tensor(value)).item() == pytest.approx(chance, abs=1e-5)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "bert"])
def test_the_next_token_is_explained_with_the_probability_it_was_said_with(
    engines: dict[str, Engine], family: str
) -> None:
    steps = list(engines[family].generate("tiny", "lm", PASSAGE, "\nTL;DR:", 4, Sampling()))
    made = [step for number, step in enumerate(steps, 1) if len(step.ids) == number][-1]  # the end is no token of it
    *said, token = made.ids
    why = reasons.of_next(engines[family], "tiny", "lm", PASSAGE, "\nTL;DR:", said, token, OCCLUSION, most=4)
    assert why.value == pytest.approx(made.log_probability, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_occlusion_is_the_difference_that_hiding_a_word_makes(engines: dict[str, Engine], family: str) -> None:
    """Against the same by hand: the vectors of one word's tokens set to zero."""
    engine = engines[family]
    made = explained(engine, "nli", OCCLUSION)
    model = engine.model("tiny")
    cut = [model.tokenizer.pieces(text) for text in (PREMISE, HYPOTHESIS)]
    encoding = model.tokenizer.assemble(*cut)
    owners = word_of_tokens(encoding, (PREMISE, HYPOTHESIS))
    batch, embeddings = Batch.of([encoding]), model.network.embeddings("nli")
    assert len(embeddings) == (2 if family == "elmo" else 1), "ELMo's readers have vectors of their own"
    hidden = len(made.texts[0]) + 3  # "not"
    assert HYPOTHESIS[made.texts[1][3].start : made.texts[1][3].end] == "not"
    with torch.no_grad():
        kept = torch.tensor([[owner != hidden] for owner in owners.flat])
        with ExitStack() as stack:
            seen = [stack.enter_context(watched(embedding)) for embedding in embeddings]
            model.network(batch, "nli")
        with ExitStack() as stack:
            for embedding, (vectors, *_) in zip(embeddings, seen, strict=True):
                stack.enter_context(replaced(embedding, vectors.reshape(len(kept), -1) * kept))
            logits = model.network(batch, "nli")[0]
    without = float(logits[1] - logits[[0, 2]].logsumexp(0))
    assert made.texts[1][3].score == pytest.approx(made.value - without, abs=1e-4)


def test_long_texts_are_hidden_some_words_at_a_time(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.engine import explain

    monkeypatch.setattr(explain, "MOST_HIDDEN", 3)
    made = explained(engines["bert"], "nli", OCCLUSION)
    scores = [word.score for text in made.texts for word in text]
    assert made.together == 5 and len(scores) == 13
    assert len(set(scores)) == 3 and len(set(scores[:5])) == 1


def test_words_of_texts() -> None:
    def cut(text: str) -> list[str]:
        return [text[start:end] for start, end in words(text)]

    assert cut("The dog's bed, isn't it?") == ["The", "dog's", "bed", ",", "isn't", "it", "?"]
    assert cut("他说hello了。") == ["他", "说", "hello", "了", "。"]
    assert cut("naïve café №5") == ["naïve", "café", "№", "5"]
    assert cut(" \n") == []


def test_tokens_belong_to_the_word_they_share_most_with() -> None:
    offsets = ((0, 0), (0, 2), (2, 4), (5, 5), (4, 7), (0, 0))  # [CLS], "un", "do", a marker, " it", [SEP]
    encoding = Encoding((1, 2, 3, 4, 5, 6), (0,) * 6, offsets, (-1, 0, 0, 0, 0, -1))
    owners = word_of_tokens(encoding, ["undo it"])
    assert owners.flat == (-1, 0, 0, 1, 1, -1)
    (scored,) = owners.collect([9, 1, 2, 4, 8, 9], together=True)
    assert [word.score for word in scored] == [3, 12]


def test_a_label_or_span_that_is_not_there_is_refused(engines: dict[str, Engine]) -> None:
    engine = engines["bert"]
    with pytest.raises(BadParameter, match=r"no label 'maybe'.*entailment, neutral, contradiction"):
        reasons.of_label(engine, "tiny", "nli", ("a", "b"), "maybe", OCCLUSION)
    with pytest.raises(BadParameter, match="no part of a passage of 3 characters"):
        reasons.of_span(engine, "tiny", "qa", "where", "cat", (1, 9), OCCLUSION)
    with pytest.raises(InputEmpty):
        reasons.of_label(engine_without_marks(), "tiny", "topic", (" ", None), "World", OCCLUSION)


def engine_without_marks() -> Engine:
    """A model whose template adds nothing, so that an empty text is nothing at all."""
    bare = replace(nets.gpt2_model(), tokenizer=nets.words_alone("A:0", "A:0 B:0"))
    return Engine(open_model=lambda _, __: bare)


@pytest.mark.parametrize("family", ["bert", "gpt2", "xlnet"])
def test_attention_of_every_head_adds_up_to_one(engines: dict[str, Engine], family: str) -> None:
    seen = reasons.attention(engines[family], "tiny", (PREMISE, HYPOTHESIS))
    layers, heads, rows, columns = seen.maps.shape
    assert (layers, heads) == (2, 2) and rows == columns == len(seen.tokens) == len(seen.sources)
    assert torch.allclose(seen.maps.sum(-1), torch.ones(layers, heads, rows), atol=1e-5)
    assert "cat" in seen.tokens


@pytest.mark.parametrize("family", ["ulmfit", "elmo"])
def test_lstms_have_no_attention(engines: dict[str, Engine], family: str) -> None:
    with pytest.raises(Unsupported, match="has no attention to show"):
        reasons.attention(engines[family], "tiny", (PREMISE, None))


def test_attention_over_too_many_tokens_is_refused(engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "MOST_ATTENTION", 8)
    with pytest.raises(BadParameter, match="has 9 tokens; attention is shown for at most 8"):
        reasons.attention(engines["bert"], "tiny", (PREMISE, None))


def test_likely_tokens_stand_beside_the_chosen_one(engines: dict[str, Engine]) -> None:
    for made in engines["gpt2"].generate("tiny", "lm", PASSAGE, "\nTL;DR:", 3, Sampling()):
        chances = [chance for _, chance in made.alternatives]
        assert len(chances) == 5 and chances == sorted(chances, reverse=True) and sum(chances) <= 1.0001
        assert chances[0] == pytest.approx(torch.tensor(made.log_probability).exp().item(), abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", ["nli", "topic"])
def test_the_last_layer_says_what_the_model_says(engines: dict[str, Engine], family: str, head: str) -> None:
    texts = (PREMISE, HYPOTHESIS if head == "nli" else None)
    made = reasons.layers(engines[family], "tiny", head, texts)
    said = engines[family].classify("tiny", head, [texts])[0]
    assert made.labels == said.labels and made.numbers[0] == 0
    sums = made.probabilities.sum(-1)
    assert torch.allclose(sums, torch.ones_like(sums))
    if family == "elmo":  # its heads read all layers at once: none alone says what they say together
        assert len(made.numbers) == 3 and not made.absent
    else:
        assert torch.allclose(made.probabilities[-1], torch.tensor(said.probabilities), atol=1e-5)
        assert not torch.allclose(made.probabilities[0], made.probabilities[-1], atol=1e-6, rtol=0)
    if family == "ulmfit":
        assert made.absent, "layers of another width than the last one"
