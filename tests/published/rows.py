"""Each row of the catalog as a tiny random repository in the layout in which the Hub has it.

`write(row, folder)` knows which repositories have only a .bin of before torch 1.6, which have safetensors, which name
their labels. Vocabularies are the published ones where the folder shared/data/vocab lies beside the project.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.parity.reference import SHARED
from zoo.catalog import Checkpoint

VOCAB = SHARED / "vocab"
FILES = {
    "uncased": "bert_base_uncased_vocab.txt",
    "cased": "bert_base_cased_vocab.txt",
    "chinese": "bert_base_chinese_vocab.txt",
    "xlnet": "xlnet_cased_spiece.model",
    "chinese xlnet": "chinese_xlnet_spiece.model",
}
CASED = ("-cased", "large-cased", "NER")
MODERN = ("google-bert/", "openai-community/", "deepset/", "distilbert/", "hfl/", "xlnet/")  # have safetensors today
STARS = tuple(f"{n} star{'s' * (n > 1)}" for n in range(1, 6))
# Labels that the published config.json names itself; all others are LABEL_0, LABEL_1, ...
NAMED: dict[str, Sequence[str]] = {
    "IDEA-CCNL/Erlangshen-Roberta-110M-NLI": ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"),
    "IDEA-CCNL/Erlangshen-Roberta-330M-NLI": ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"),
    "IDEA-CCNL/Erlangshen-Roberta-110M-Sentiment": ("Negative", "Positive"),
    "ProsusAI/finbert": ("positive", "negative", "neutral"),
    "nlptown/bert-base-multilingual-uncased-sentiment": STARS,
    "uer/roberta-base-finetuned-chinanews-chinese": (
        "mainland China politics", "Hong Kong - Macau politics", "International news", "financial news", "culture",
        "entertainment", "sports",
    ),
    "uer/roberta-base-finetuned-ifeng-chinese": (
        "mainland China politics", "International news", "Taiwan - Hong Kong - Macau politics", "military news",
        "society news",
    ),
    "uer/roberta-base-finetuned-jd-binary-chinese": ("negative (stars 1, 2 and 3)", "positive (stars 4 and 5)"),
    "uer/roberta-base-finetuned-jd-full-chinese": ("star 1", "star 2", "star 3", "star 4", "star 5"),
    "uer/roberta-base-finetuned-dianping-chinese": ("negative (stars 1, 2 and 3)", "positive (stars 4 and 5)"),
}  # fmt: skip
BERT_KIND = {"nli": "BertForSequenceClassification", "classify": "BertForSequenceClassification",
             "qa": "BertForQuestionAnswering"}  # fmt: skip
# What old or unusual repositories show beside the rule.
MARKS: dict[str, Sequence[str]] = {
    "google-bert/bert-base-uncased": ("old norms",),
    "google-bert/bert-base-chinese": ("old norms",),
    "huawei-noah/TinyBERT_General_4L_312D": ("fit dense",),
    "prajjwal1/bert-tiny": ("no model_type",),
    "openai-community/gpt2": ("buffers", "no prefix"),
    "openai-community/gpt2-xl": ("no prefix",),
    "distilbert/distilgpt2": ("buffers",),
    "IDEA-CCNL/Wenzhong-GPT2-110M": ("half",),
    "microsoft/DialoGPT-small": ("half", "buffers"),
}
BEAMS = ("jkgrad/xlnet-base-squadv2",)  # by the class that its card loads it with
XLNET_KIND = {"summarize": "lm", "nli": "classifier", "classify": "classifier", "qa": "span"}
LEARNERS: dict[str, tuple[str, Sequence[str]]] = {
    "TheBritishLibrary/bl-books-genre-fastai": ("20211115-model.pkl", ("Fiction", "Non-fiction")),
    "Junlaii/wiki_LSTM_fintune_final": ("model.pkl", ()),
}
SHARDED = ("openai-community/gpt2-xl",)  # written in shards here, so that some row is


def labels(row: Checkpoint) -> tuple[str, ...]:
    """The labels that the published files name."""
    return tuple(NAMED.get(row.source) or (f"LABEL_{i}" for i in range(len(row.labels))))


def write(row: Checkpoint, folder: Path) -> Path:
    """The repository of one row."""
    return WRITERS[row.family](row, folder)


def _vocabulary(name: str) -> Path | None:
    path = VOCAB / FILES[name]
    return path if path.is_file() else None


def _form(row: Checkpoint) -> str:
    if row.source in SHARDED:
        return "sharded safetensors"
    return "safetensors" if row.source.startswith(MODERN) else "old bin"


def _bert(row: Checkpoint, folder: Path) -> Path:
    from tests.published import bert_gpt2

    cased = any(word in row.source for word in CASED)
    words = "chinese" if row.languages == ("zh",) else "cased" if cased else "uncased"
    kind = next((BERT_KIND[task] for task in row.tasks), "BertForPreTraining")
    return bert_gpt2.repository(
        folder,
        kind,
        labels(row) if kind == "BertForSequenceClassification" else (),
        _form(row),
        _vocabulary(words),
        (*MARKS.get(row.source, ()), *(["buffers"] if _form(row) == "old bin" else [])),
        cased,
    )


def _gpt2(row: Checkpoint, folder: Path) -> Path:
    from tests.published import bert_gpt2

    chinese = row.source.startswith("uer/")
    real = VOCAB if (VOCAB / "gpt2_encoder.json").is_file() else None
    vocabulary = _vocabulary("chinese") if chinese else real
    marks = ("words",) if chinese else MARKS.get(row.source, ())
    return bert_gpt2.repository(folder, "GPT2LMHeadModel", (), _form(row), vocabulary, marks)


def _xlnet(row: Checkpoint, folder: Path) -> Path:
    from tests.published import xlnet

    kind = "beams" if row.source in BEAMS else XLNET_KIND[next(iter(row.tasks))]
    form = "safetensors" if row.source.startswith(MODERN) else "old"
    words = _vocabulary("chinese xlnet" if row.languages == ("zh",) else "xlnet")
    xlnet.repository(folder, kind, labels(row), form, words)
    if row.source.startswith("hfl/"):
        _change_config(folder, ff_activation="relu")
    return folder


def _gpt(row: Checkpoint, folder: Path) -> Path:
    from tests.published import gpt

    real = VOCAB / "openai_gpt_encoder_bpe_40000.json"
    return gpt.repository(folder, "lm", (), "safetensors", real if real.is_file() else None)


def _elmo(row: Checkpoint, folder: Path) -> Path:
    from tests.published import elmo

    kind = next(iter(row.tasks), "tiny" if row.source == "lysandre/test-elmo-tiny" else "hdf5")
    return elmo.repository(folder, kind)


def _ulmfit(row: Checkpoint, folder: Path) -> Path:
    from tests.published import ulmfit

    name, labels = LEARNERS[row.source]
    kind = "learner classifier" if labels else "learner lm"
    return ulmfit.repository(folder, kind, labels, name=name) if labels else ulmfit.repository(folder, kind, name=name)


def _change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


WRITERS: Mapping[str, Any] = {
    "bert": _bert,
    "elmo": _elmo,
    "gpt": _gpt,
    "gpt2": _gpt2,
    "ulmfit": _ulmfit,
    "xlnet": _xlnet,
}
