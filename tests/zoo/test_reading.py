"""The reader on top of bodies that cannot point at an answer by themselves: it reads a text alone as beside others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests import nets
from zoo.contracts import Batch, Encoding
from zoo.family import Model
from zoo.models import xlnet


def reader(family: str) -> Model:
    """A random model with a reader for its answers; GPT-2's question stands before the passage, XLNet's behind it."""
    model = nets.FAMILIES[family]()
    if family == "gpt2":
        return model
    torch.manual_seed(0)
    config = replace(model.config, span_reader=8)
    return replace(model, config=config, network=xlnet.build(config, model.heads).eval())


def asked(model: Model, question: str, passage: str) -> Encoding:
    return model.tokenizer.question(model.tokenizer.pieces(question), model.tokenizer.pieces(passage))


@pytest.mark.parametrize("family", ["gpt2", "xlnet"])
@torch.inference_mode()
def test_a_question_is_answered_alike_alone_and_beside_longer_and_shorter_ones(family: str) -> None:
    model = reader(family)
    encodings = [
        asked(model, "where is the cat ?", "the cat sat on a mat ."),
        asked(model, "is the dog asleep on the mat ?", "the dog is not asleep . " * 8),
        asked(model, "where ?", "a mat"),
        asked(model, "", "the dog is on the mat ."),
    ]
    together = Batch.of(encodings)
    found = together.split(model.network(together, "qa"))
    for encoding, beside in zip(encodings, found, strict=True):
        alone = model.network(Batch.of([encoding]), "qa")
        assert torch.allclose(alone, beside, atol=1e-5)
        assert len(set(alone.flatten().tolist())) > 2  # and says something


@pytest.mark.parametrize("family", ["gpt2", "xlnet"])
@torch.inference_mode()
def test_only_the_passage_and_the_last_token_can_be_an_answer_and_the_question_matters(family: str) -> None:
    model = reader(family)
    one, other = (asked(model, question, "the cat sat on a mat .") for question in ("where ?", "is the dog ?"))
    scores = [model.network(Batch.of([encoding]), "qa") for encoding in (one, other)]
    for encoding, found in zip((one, other), scores, strict=True):
        lowest = torch.finfo(found.dtype).min
        possible = [source == 1 for source in encoding.sources]
        possible[-1] = True
        assert (found[:, 0] > lowest).tolist() == possible
    inside = [found[[source == 1 for source in e.sources]] for e, found in zip((one, other), scores, strict=True)]
    assert not torch.allclose(*inside, atol=1e-3)
