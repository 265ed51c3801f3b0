"""What is in the zoo, on one page: its families, and its checkpoints.

A row of CHECKPOINTS is data. `tasks` maps a task to the heads that answer it, the default first; a menu offers a
checkpoint for a task because its row names the task, and only if the family has that head.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import UnknownModel, did_you_mean
from zoo.family import Family
from zoo.models import bert, gpt2

EMBEDDED = Path(__file__).parent / "checkpoints"
FAMILIES: tuple[Family, ...] = (bert.FAMILY, gpt2.FAMILY)

NLI_TEXTATTACK = ("contradiction", "entailment", "neutral")  # its label ids are not GLUE's
SENTIMENT = ("negative", "positive")
NEWS = ("World", "Sports", "Business", "Sci/Tech")


@dataclass(frozen=True)
class Checkpoint:
    """One row: where a checkpoint is, what it can do, under which licence, how large it is."""

    name: str
    family: str
    source: str  # Hub repository, or the folder below zoo/checkpoints/ when embedded
    tasks: Mapping[str, tuple[str, ...]]  # task -> heads
    parameters: int
    megabytes: int  # of its weight files
    licence: str
    about: str
    languages: tuple[str, ...] = ("en",)
    labels: tuple[str, ...] = ()  # replaces LABEL_0, LABEL_1, ... of configs that name none
    embedded: bool = False
    unanswerable: bool = False  # its span head was trained to say that a passage has no answer

    @property
    def figures(self) -> dict[str, dict[str, float]]:
        """What was measured of a shipped checkpoint, data set -> metric -> percent; its card says how."""
        path = EMBEDDED / self.source / "results.json"
        if not self.embedded or not path.is_file():
            return {}
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        return {row["title"]: row["metrics"] for row in results}


_BERT_BASE, _GPT2 = 110_000_000, 124_000_000


def _bert(name: str, source: str, head: str, task: str, about: str, **more: object) -> Checkpoint:
    values: dict = {"parameters": _BERT_BASE, "megabytes": 438, "licence": "not stated"} | more
    return Checkpoint(name, "bert", source, {task: (head,)} if task else {}, about=about, **values)


def _gpt2(name: str, source: str, parameters: int, megabytes: int, about: str, **more: object) -> Checkpoint:
    values: dict = {"licence": "MIT"} | more
    return Checkpoint(name, "gpt2", source, {"summarize": ("lm",)}, parameters, megabytes, about=about, **values)


CHECKPOINTS: tuple[Checkpoint, ...] = (
    Checkpoint(
        "bert-mini",
        "bert",
        "bert-mini",
        {"nli": ("nli",), "qa": ("qa",), "classify": ("topic", "sentiment")},
        parameters=23_013_131,
        megabytes=23,
        licence="non-commercial (AG News is among its data)",
        about="Six layers of width 384, from MiniLM, fine-tuned here on four tasks at once with one head each.",
        embedded=True,
        unanswerable=True,
    ),
    Checkpoint(
        "gpt-mini",
        "gpt2",
        "gpt-mini",
        {"summarize": ("lm",)},
        parameters=6_967_296,
        megabytes=7,
        licence="CC BY-SA 3.0 (trained on Wikipedia)",
        about="Six layers of width 256 with a vocabulary of 8,192, trained here from scratch on Wikipedia and books.",
        embedded=True,
    ),
    _bert("bert-base-uncased", "google-bert/bert-base-uncased", "", "", "The original base model, lower-cased.",
          licence="Apache-2.0", megabytes=440),
    _bert("bert-base-cased", "google-bert/bert-base-cased", "", "", "The original base model, with case.",
          licence="Apache-2.0", parameters=108_000_000, megabytes=436),
    _bert("bert-base-chinese", "google-bert/bert-base-chinese", "", "", "The original Chinese base model.",
          licence="Apache-2.0", parameters=103_000_000, megabytes=412, languages=("zh",)),
    _bert("bert-base-mnli", "textattack/bert-base-uncased-MNLI", "classifier", "nli",
          "BERT base fine-tuned on MultiNLI.", labels=NLI_TEXTATTACK),
    _bert("bert-base-snli", "textattack/bert-base-uncased-snli", "classifier", "nli",
          "BERT base fine-tuned on SNLI.", labels=NLI_TEXTATTACK),
    _bert("bert-base-sst2", "textattack/bert-base-uncased-SST-2", "classifier", "classify",
          "BERT base fine-tuned on SST-2: sentiment of film reviews.", labels=SENTIMENT),
    _bert("bert-base-ag-news", "textattack/bert-base-uncased-ag-news", "classifier", "classify",
          "BERT base fine-tuned on AG News: topic of news.", labels=NEWS),
    _bert("bert-base-rotten-tomatoes", "textattack/bert-base-uncased-rotten-tomatoes", "classifier", "classify",
          "BERT base fine-tuned on Rotten Tomatoes: sentiment of film reviews.", labels=SENTIMENT),
    _bert("bert-base-cased-squad2", "deepset/bert-base-cased-squad2", "span", "qa",
          "BERT base, cased, fine-tuned on SQuAD 2.0; can say that there is no answer.",
          licence="CC-BY-4.0", parameters=108_000_000, megabytes=433, unanswerable=True),
    _bert("bert-large-squad", "google-bert/bert-large-uncased-whole-word-masking-finetuned-squad", "span", "qa",
          "BERT large, whole words masked, fine-tuned on SQuAD 1.1.",
          licence="Apache-2.0", parameters=335_000_000, megabytes=1340),
    _bert("chinese-extractive-qa", "uer/roberta-base-chinese-extractive-qa", "span", "qa",
          "BERT architecture (despite its name) fine-tuned for Chinese QA.",
          parameters=102_000_000, megabytes=407, languages=("zh",)),
    _bert("erlangshen-110m-nli", "IDEA-CCNL/Erlangshen-Roberta-110M-NLI", "classifier", "nli",
          "BERT architecture (despite its name) fine-tuned for Chinese NLI.", licence="Apache-2.0",
          parameters=102_000_000, megabytes=409, languages=("zh",), labels=("contradiction", "neutral", "entailment")),
    _gpt2("gpt2", "openai-community/gpt2", _GPT2, 548, "The smallest GPT-2."),
    _gpt2("gpt2-medium", "openai-community/gpt2-medium", 355_000_000, 1520, "GPT-2 with 24 layers."),
    _gpt2("gpt2-large", "openai-community/gpt2-large", 774_000_000, 3250, "GPT-2 with 36 layers."),
    _gpt2("gpt2-xl", "openai-community/gpt2-xl", 1_558_000_000, 6430, "GPT-2 with 48 layers, the one of the paper."),
    _gpt2("distilgpt2", "distilbert/distilgpt2", 82_000_000, 353, "GPT-2 distilled to six layers.",
          licence="Apache-2.0"),
)  # fmt: skip


def find(name: str) -> Checkpoint | None:
    """The row of that name or Hub repository, if there is one."""
    return next((c for c in CHECKPOINTS if name in (c.name, c.source)), None)


def get(name: str) -> Checkpoint:
    """The row of that name. Raises UnknownModel with close names."""
    row = find(name)
    if row is None:
        raise UnknownModel(
            f"{name!r} is not in the zoo.{did_you_mean(name, names())} `python -m zoo list` shows all "
            f"{len(CHECKPOINTS)}; a Hub repository is written owner/name, a folder as a path."
        )
    return row


def names() -> list[str]:
    """All names, embedded checkpoints first."""
    return [c.name for c in CHECKPOINTS]


def by_task(task: str) -> list[Checkpoint]:
    """The checkpoints that answer a task, embedded ones first."""
    return [c for c in CHECKPOINTS if task in c.tasks]


def family(name: str) -> Family:
    """The family of that name."""
    return next(f for f in FAMILIES if f.name == name)
