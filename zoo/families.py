"""The families of the zoo as a visitor reads of them; zoo/models/ has a file for each that computes it.

Nothing here needs torch, so that what only lists or shows the catalog is there without waiting for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FamilyCard:
    """Who an architecture is from, and what it does."""

    name: str
    title: str
    paper: str  # short citation
    url: str
    year: int
    about: str  # one sentence for a visitor: what it reads, and what it learnt from
    cannot: Mapping[str, str] = field(default_factory=dict)  # task -> why no checkpoint of the family answers it


ELMO = FamilyCard(
    name="elmo",
    title="ELMo",
    paper="Peters et al. 2018, Deep contextualized word representations",
    url="https://arxiv.org/abs/1802.05365",
    year=2018,
    about="Reads words by their letters, with one LSTM in each direction, trained to guess the next word of news.",
)
ULMFIT = FamilyCard(
    name="ulmfit",
    title="ULMFiT",
    paper="Howard & Ruder 2018, Universal Language Model Fine-tuning for Text Classification",
    url="https://arxiv.org/abs/1801.06146",
    year=2018,
    about="Three LSTM layers that read word by word; pre-trained on Wikipedia, then fine-tuned on the texts at hand.",
)
GPT = FamilyCard(
    name="gpt",
    title="GPT",
    paper="Radford et al. 2018, Improving Language Understanding by Generative Pre-Training",
    url="https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf",
    year=2018,
    about="Reads from left to right; learnt by guessing the next piece of seven thousand unpublished books.",
    cannot={
        "qa": "GPT scores whole texts and answers given to choose from; it marks no answer inside a passage.",
        "nli": "GPT judges pairs once it is fine-tuned to; only its language model was published.",
        "classify": "GPT labels texts once it is fine-tuned to; only its language model was published.",
    },
)
BERT = FamilyCard(
    name="bert",
    title="BERT",
    paper="Devlin et al. 2019, BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
    url="https://arxiv.org/abs/1810.04805",
    year=2018,
    about="Reads a whole text at once, both ways; learnt by filling in masked words.",
    cannot={"summarize": "BERT predicts masked words; it does not continue a text."},
)
GPT2 = FamilyCard(
    name="gpt2",
    title="GPT-2",
    paper="Radford et al. 2019, Language Models are Unsupervised Multitask Learners",
    url="https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf",
    year=2019,
    about="Reads from left to right; learnt by guessing the next piece of eight million web pages.",
)
XLNET = FamilyCard(
    name="xlnet",
    title="XLNet",
    paper="Yang et al. 2019, XLNet: Generalized Autoregressive Pretraining for Language Understanding",
    url="https://arxiv.org/abs/1906.08237",
    year=2019,
    about="Reads a whole text at once, and tells places by distance; learnt by guessing pieces in random order.",
)
FAMILIES = (ELMO, ULMFIT, GPT, BERT, GPT2, XLNET)
