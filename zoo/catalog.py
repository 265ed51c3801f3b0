"""What is in the zoo, on one page: its families, and its checkpoints.

A row of CHECKPOINTS is data. `tasks` maps a task to the heads that answer it, the default first; a menu offers a
checkpoint for a task because its row names the task, and only if the family has that head.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from zoo.errors import UnknownModel, did_you_mean
from zoo.families import FAMILIES, FamilyCard

EMBEDDED = Path(__file__).parent / "checkpoints"
RESULTS = EMBEDDED / "results.csv"  # written by `python -m tasks eval --all`

NLI_TEXTATTACK = ("contradiction", "entailment", "neutral")  # its label ids are not GLUE's
SENTIMENT = ("negative", "positive")
NEWS = ("World", "Sports", "Business", "Sci/Tech")
RTE = ("entailment", "not_entailment")
ACCEPTABLE = ("unacceptable", "acceptable")


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
    paper: str = ""  # of the checkpoint, where it is not that of its family
    own: bool = False  # a folder of the user's, given when the program was started

    @property
    def figures(self) -> dict[str, dict[str, float]]:
        """What was measured of a shipped checkpoint, data set -> metric -> value; its card says how."""
        return _figures().get(self.name, {}) if self.embedded else {}


@cache
def _figures() -> dict[str, dict[str, dict[str, float]]]:
    """RESULTS by model, data set and metric."""
    if not RESULTS.is_file():
        return {}
    found: dict[str, dict[str, dict[str, float]]] = {}
    with RESULTS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["model"], {}).setdefault(row["data"], {})[row["metric"]] = float(row["value"])
    return found


_TURC = "Turc et al. 2019, Well-Read Students Learn Better: On the Importance of Pre-training Compact Models"
_CUI = "Cui et al. 2019, Pre-Training with Whole Word Masking for Chinese BERT"
_UER = "Zhao et al. 2019, UER: An Open-Source Toolkit for Pre-training Models"
_FENGSHEN = "Zhang et al. 2022, Fengshenbang 1.0: Being the Foundation of Chinese Cognitive Intelligence"
_CUI_XLNET = "Cui et al. 2020, Revisiting Pre-Trained Models for Chinese Natural Language Processing"
_ZH = ("zh",)


def _row(
    family: str, name: str, source: str, does: str, millions: float, megabytes: int, about: str, **more: object
) -> Checkpoint:
    """A checkpoint of the Hub; `does` is "task head", several with commas between them, or nothing."""
    tasks = {task: (head,) for task, head in (part.split() for part in does.split(",") if part)}
    values: dict = {"licence": "not stated"} | more
    return Checkpoint(name, family, source, tasks, round(millions * 1e6), megabytes, about=about, **values)


_bert, _gpt2, _xlnet, _elmo, _ulmfit = (partial(_row, f) for f in ("bert", "gpt2", "xlnet", "elmo", "ulmfit"))
_APACHE: dict = {"licence": "Apache-2.0"}
_MIT: dict = {"licence": "MIT"}

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
        {"nli": ("nli",), "qa": ("qa",), "classify": ("topic", "sentiment"), "summarize": ("lm",)},
        parameters=8_454_149,
        megabytes=9,
        licence="non-commercial (AG News is among its data)",
        about="Six layers of width 256 over 8,195 pieces, trained here from scratch, then on four tasks at once.",
        embedded=True,
    ),
    Checkpoint(
        "ulmfit-mini",
        "ulmfit",
        "ulmfit-mini",
        {"nli": ("nli",), "qa": ("qa",), "classify": ("topic", "sentiment"), "summarize": ("lm",)},
        parameters=12_101_267,
        megabytes=12,
        licence="non-commercial (AG News is among its data)",
        about="Three LSTM layers over 30,000 words, trained here from scratch, then in ULMFiT's stages on four tasks.",
        embedded=True,
    ),
    Checkpoint(
        "elmo-mini",
        "elmo",
        "elmo-mini",
        {"nli": ("nli",), "qa": ("qa",), "classify": ("topic", "sentiment"), "summarize": ("lm",)},
        parameters=18_810_939,
        megabytes=20,
        licence="non-commercial (AG News is among its data)",
        about="Two layers each way over letters, trained here from scratch; a small network a task reads them, frozen.",
        embedded=True,
    ),
    Checkpoint(
        "xlnet-mini",
        "xlnet",
        "xlnet-mini",
        {"nli": ("nli",), "qa": ("qa",), "classify": ("topic", "sentiment"), "summarize": ("lm",)},
        parameters=5_341_579,
        megabytes=6,
        licence="non-commercial (AG News is among its data)",
        about="Five layers of width 192 with two streams, trained here from scratch, then on four tasks at once.",
        embedded=True,
    ),
    # BERT: base models
    _bert("bert-base-uncased", "google-bert/bert-base-uncased", "", 110, 440,
          "The original base model, lower-cased.", **_APACHE),
    _bert("bert-base-cased", "google-bert/bert-base-cased", "", 108, 436, "The original base model, with case.",
          **_APACHE),
    _bert("bert-large-uncased", "google-bert/bert-large-uncased", "", 335, 1345,
          "The original large model, lower-cased.", **_APACHE),
    _bert("bert-large-cased", "google-bert/bert-large-cased", "", 334, 1339, "The original large model, with case.",
          **_APACHE),
    _bert("bert-large-wwm", "google-bert/bert-large-uncased-whole-word-masking", "", 335, 1345,
          "BERT large, pre-trained again with whole words masked.", **_APACHE),
    _bert("bert-base-multilingual-cased", "google-bert/bert-base-multilingual-cased", "", 178, 714,
          "One base model for 104 languages.", languages=("en", "zh", "others"), **_APACHE),
    _bert("bert-base-chinese", "google-bert/bert-base-chinese", "", 103, 412, "The original Chinese base model.",
          languages=_ZH, **_APACHE),
    _bert("chinese-bert-wwm", "hfl/chinese-bert-wwm", "", 103, 412,
          "Chinese BERT base, whole words masked.", paper=_CUI, languages=_ZH, **_APACHE),
    _bert("chinese-bert-wwm-ext", "hfl/chinese-bert-wwm-ext", "", 103, 412,
          "Chinese BERT base, whole words masked, on more text.", paper=_CUI, languages=_ZH, **_APACHE),
    _bert("chinese-roberta-wwm-ext", "hfl/chinese-roberta-wwm-ext", "", 103, 412,
          "BERT architecture (despite its name), trained longer and without next sentences.", paper=_CUI,
          languages=_ZH, **_APACHE),
    _bert("chinese-roberta-wwm-ext-large", "hfl/chinese-roberta-wwm-ext-large", "", 326, 1306,
          "The large one of the same authors; BERT architecture.", paper=_CUI, languages=_ZH, **_APACHE),
    _bert("chinese-roberta-tiny", "uer/chinese_roberta_L-2_H-128", "", 3.2, 13,
          "Two layers of width 128; BERT architecture (despite its name).", paper=_UER, languages=_ZH),
    _bert("tinybert-4l", "huawei-noah/TinyBERT_General_4L_312D", "", 14.4, 63,
          "Four layers of width 312, distilled from BERT base before any fine-tuning.",
          paper="Jiao et al. 2020, TinyBERT: Distilling BERT for Natural Language Understanding"),
    _bert("bert-tiny", "prajjwal1/bert-tiny", "", 4.4, 18,
          "Two layers of width 128; an old config.json that names no family.", paper=_TURC, **_MIT),
    _bert("bert-tiny-google", "google/bert_uncased_L-2_H-128_A-2", "", 4.4, 18,
          "The smallest of Google's 24 compact models.", paper=_TURC, **_APACHE),
    # BERT: natural-language inference
    _bert("bert-base-mnli", "textattack/bert-base-uncased-MNLI", "nli classifier", 110, 438,
          "BERT base fine-tuned on MultiNLI.", labels=NLI_TEXTATTACK),
    _bert("bert-base-snli", "textattack/bert-base-uncased-snli", "nli classifier", 110, 438,
          "BERT base fine-tuned on SNLI.", labels=NLI_TEXTATTACK),
    _bert("bert-base-rte", "textattack/bert-base-uncased-RTE", "nli classifier", 110, 438,
          "BERT base fine-tuned on RTE, which knows entailment and nothing else.", labels=RTE),
    _bert("bert-tiny-mnli", "prajjwal1/bert-tiny-mnli", "nli classifier", 4.4, 18,
          "BERT tiny fine-tuned on MultiNLI.", labels=NLI_TEXTATTACK, paper=_TURC),
    _bert("erlangshen-110m-nli", "IDEA-CCNL/Erlangshen-Roberta-110M-NLI", "nli classifier", 102, 409,
          "BERT architecture (despite its name) fine-tuned for Chinese NLI.", paper=_FENGSHEN, languages=_ZH,
          labels=("contradiction", "neutral", "entailment"), **_APACHE),
    _bert("erlangshen-330m-nli", "IDEA-CCNL/Erlangshen-Roberta-330M-NLI", "nli classifier", 326, 1302,
          "BERT large architecture fine-tuned for Chinese NLI.", paper=_FENGSHEN, languages=_ZH,
          labels=("contradiction", "neutral", "entailment"), **_APACHE),
    # BERT: question answering
    _bert("bert-base-cased-squad2", "deepset/bert-base-cased-squad2", "qa span", 108, 433,
          "BERT base, cased, fine-tuned on SQuAD 2.0; can say that there is no answer.",
          licence="CC-BY-4.0", unanswerable=True),
    _bert("bert-base-squad2", "deepset/bert-base-uncased-squad2", "qa span", 109, 438,
          "BERT base fine-tuned on SQuAD 2.0; can say that there is no answer.",
          licence="CC-BY-4.0", unanswerable=True),
    _bert("bert-large-squad", "google-bert/bert-large-uncased-whole-word-masking-finetuned-squad", "qa span", 335, 1340,
          "BERT large, whole words masked, fine-tuned on SQuAD 1.1.", **_APACHE),
    _bert("bert-large-cased-squad", "google-bert/bert-large-cased-whole-word-masking-finetuned-squad", "qa span",
          334, 1335, "BERT large, cased, whole words masked, fine-tuned on SQuAD 1.1.", **_APACHE),
    _bert("bert-large-squad2", "deepset/bert-large-uncased-whole-word-masking-squad2", "qa span", 335, 1340,
          "BERT large, whole words masked, fine-tuned on SQuAD 2.0; can say that there is no answer.",
          licence="CC-BY-4.0", unanswerable=True),
    _bert("minilm-squad2", "deepset/minilm-uncased-squad2", "qa span", 33, 133,
          "Twelve layers of width 384, distilled, then fine-tuned on SQuAD 2.0.",
          paper="Wang et al. 2020, MiniLM: Deep Self-Attention Distillation", licence="CC-BY-4.0", unanswerable=True),
    _bert("chinese-extractive-qa", "uer/roberta-base-chinese-extractive-qa", "qa span", 102, 407,
          "BERT architecture (despite its name) fine-tuned for Chinese QA.", paper=_UER, languages=_ZH),
    _bert("chinese-mrc-large", "luhua/chinese_pretrain_mrc_roberta_wwm_ext_large", "qa span", 325, 1302,
          "BERT large architecture fine-tuned on much Chinese reading comprehension.", paper=_CUI, languages=_ZH),
    _bert("chinese-mrc-macbert-large", "luhua/chinese_pretrain_mrc_macbert_large", "qa span", 325, 1302,
          "MacBERT large (BERT architecture) fine-tuned on the same data.", languages=_ZH,
          paper="Cui et al. 2020, Revisiting Pre-Trained Models for Chinese Natural Language Processing"),
    # BERT: classification
    _bert("bert-base-sst2", "textattack/bert-base-uncased-SST-2", "classify classifier", 110, 438,
          "BERT base fine-tuned on SST-2: sentiment of film reviews.", labels=SENTIMENT),
    _bert("bert-base-imdb", "textattack/bert-base-uncased-imdb", "classify classifier", 110, 438,
          "BERT base fine-tuned on IMDb: sentiment of long film reviews.", labels=SENTIMENT),
    _bert("bert-base-yelp-polarity", "textattack/bert-base-uncased-yelp-polarity", "classify classifier", 110, 438,
          "BERT base fine-tuned on Yelp: sentiment of reviews of places.", labels=SENTIMENT),
    _bert("bert-base-rotten-tomatoes", "textattack/bert-base-uncased-rotten-tomatoes", "classify classifier", 110, 438,
          "BERT base fine-tuned on Rotten Tomatoes: sentiment of film reviews.", labels=SENTIMENT),
    _bert("bert-base-ag-news", "textattack/bert-base-uncased-ag-news", "classify classifier", 110, 438,
          "BERT base fine-tuned on AG News: topic of news.", labels=NEWS),
    _bert("bert-base-cola", "textattack/bert-base-uncased-CoLA", "classify classifier", 110, 438,
          "BERT base fine-tuned on CoLA: whether a sentence is good English.", labels=ACCEPTABLE),
    _bert("finbert", "ProsusAI/finbert", "classify classifier", 110, 438,
          "BERT base trained on financial news: good, bad or neither for a company.",
          paper="Araci 2019, FinBERT: Financial Sentiment Analysis with Pre-trained Language Models"),
    _bert("bert-multilingual-stars", "nlptown/bert-base-multilingual-uncased-sentiment", "classify classifier",
          167, 670, "Stars, one to five, of product reviews in six languages.",
          languages=("en", "de", "fr", "es", "it", "nl"), **_MIT),
    _bert("chinanews", "uer/roberta-base-finetuned-chinanews-chinese", "classify classifier", 102, 409,
          "Topic of Chinese news, seven kinds; BERT architecture.", paper=_UER, languages=_ZH),
    _bert("ifeng", "uer/roberta-base-finetuned-ifeng-chinese", "classify classifier", 102, 409,
          "Topic of Chinese news, five kinds; BERT architecture.", paper=_UER, languages=_ZH),
    _bert("jd-binary", "uer/roberta-base-finetuned-jd-binary-chinese", "classify classifier", 102, 409,
          "Sentiment of Chinese product reviews; BERT architecture.", paper=_UER, languages=_ZH),
    _bert("jd-full", "uer/roberta-base-finetuned-jd-full-chinese", "classify classifier", 102, 409,
          "Stars, one to five, of Chinese product reviews; BERT architecture.", paper=_UER, languages=_ZH),
    _bert("dianping", "uer/roberta-base-finetuned-dianping-chinese", "classify classifier", 102, 409,
          "Sentiment of Chinese reviews of restaurants; BERT architecture.", paper=_UER, languages=_ZH),
    _bert("erlangshen-110m-sentiment", "IDEA-CCNL/Erlangshen-Roberta-110M-Sentiment", "classify classifier", 102, 409,
          "Sentiment of Chinese texts; BERT architecture.", paper=_FENGSHEN, languages=_ZH, labels=SENTIMENT,
          **_APACHE),
    # GPT
    _row("gpt", "gpt", "openai-community/openai-gpt", "summarize lm", 117, 479, "The original GPT, trained on books.",
         **_MIT),
    # GPT-2
    _gpt2("gpt2", "openai-community/gpt2", "summarize lm", 124, 548, "The smallest GPT-2.", **_MIT),
    _gpt2("gpt2-medium", "openai-community/gpt2-medium", "summarize lm", 355, 1520, "GPT-2 with 24 layers.", **_MIT),
    _gpt2("gpt2-large", "openai-community/gpt2-large", "summarize lm", 774, 3250, "GPT-2 with 36 layers.", **_MIT),
    _gpt2("gpt2-xl", "openai-community/gpt2-xl", "summarize lm", 1558, 6430,
          "GPT-2 with 48 layers, the one of the paper.", **_MIT),
    _gpt2("distilgpt2", "distilbert/distilgpt2", "summarize lm", 82, 353, "GPT-2 distilled to six layers.",
          paper="Sanh et al. 2019, DistilBERT, a distilled version of BERT", **_APACHE),
    _gpt2("gpt2-chinese", "uer/gpt2-chinese-cluecorpussmall", "summarize lm", 102, 421,
          "GPT-2 base for Chinese, with BERT's vocabulary.", paper=_UER, languages=_ZH),
    _gpt2("gpt2-chinese-distil", "uer/gpt2-distil-chinese-cluecorpussmall", "summarize lm", 59, 244,
          "Six layers for Chinese, with BERT's vocabulary.", paper=_UER, languages=_ZH),
    _gpt2("gpt2-chinese-poem", "uer/gpt2-chinese-poem", "summarize lm", 103, 421,
          "Goes on in classical Chinese verse, whatever it reads.", paper=_UER, languages=_ZH),
    _gpt2("wenzhong-110m", "IDEA-CCNL/Wenzhong-GPT2-110M", "summarize lm", 124, 274,
          "GPT-2 base trained on Chinese, with the English byte vocabulary.", paper=_FENGSHEN, languages=_ZH,
          **_APACHE),
    _gpt2("dialogpt-small", "microsoft/DialoGPT-small", "", 124, 351, "GPT-2 base trained to reply on forums.",
          paper="Zhang et al. 2020, DialoGPT: Large-Scale Generative Pre-training for Conversational Response "
          "Generation", **_MIT),
    # XLNet
    _xlnet("xlnet-base-cased", "xlnet/xlnet-base-cased", "summarize lm", 117, 467,
           "The original base model; it can go on from a text, though it was not made to.", **_MIT),
    _xlnet("xlnet-large-cased", "xlnet/xlnet-large-cased", "summarize lm", 361, 1441,
           "The original large model, the one of the paper.", **_MIT),
    _xlnet("chinese-xlnet-base", "hfl/chinese-xlnet-base", "summarize lm", 117, 469, "A Chinese base model.",
           paper=_CUI_XLNET, languages=_ZH, **_APACHE),
    _xlnet("chinese-xlnet-mid", "hfl/chinese-xlnet-mid", "summarize lm", 209, 838,
           "A Chinese model of 24 layers and base width.", paper=_CUI_XLNET, languages=_ZH, **_APACHE),
    _xlnet("xlnet-base-mnli", "textattack/xlnet-base-cased-MNLI", "nli classifier", 117, 469,
           "XLNet base fine-tuned on MultiNLI.", labels=NLI_TEXTATTACK),
    _xlnet("xlnet-base-rte", "textattack/xlnet-base-cased-RTE", "nli classifier", 117, 469,
           "XLNet base fine-tuned on RTE, which knows entailment and nothing else.", labels=RTE),
    _xlnet("xlnet-large-nli", "ynie/xlnet-large-cased-snli_mnli_fever_anli_R1_R2_R3-nli", "nli classifier", 361, 1445,
           "XLNet large fine-tuned on SNLI, MultiNLI, FEVER and ANLI.",
           labels=("entailment", "neutral", "contradiction"),
           paper="Nie et al. 2020, Adversarial NLI: A New Benchmark for Natural Language Understanding"),
    _xlnet("xlnet-base-squad2", "jkgrad/xlnet-base-squadv2", "qa span", 118, 474,
           "XLNet base fine-tuned on SQuAD 2.0; scores an end for each likely start.", unanswerable=True),
    _xlnet("xlnet-base-squad", "arrafmousa/xlnet-base-cased-finetuned-squad", "qa span", 117, 467,
           "XLNet base fine-tuned on SQuAD 1.1 with a plain span head."),
    _xlnet("xlnet-base-sst2", "textattack/xlnet-base-cased-SST-2", "classify classifier", 117, 469,
           "XLNet base fine-tuned on SST-2: sentiment of film reviews.", labels=SENTIMENT),
    _xlnet("xlnet-large-sst2", "textattack/xlnet-large-cased-SST-2", "classify classifier", 361, 1445,
           "XLNet large fine-tuned on SST-2: sentiment of film reviews.", labels=SENTIMENT),
    _xlnet("xlnet-base-imdb", "textattack/xlnet-base-cased-imdb", "classify classifier", 117, 469,
           "XLNet base fine-tuned on IMDb: sentiment of long film reviews.", labels=SENTIMENT),
    _xlnet("xlnet-base-rotten-tomatoes", "textattack/xlnet-base-cased-rotten-tomatoes", "classify classifier", 117, 469,
           "XLNet base fine-tuned on Rotten Tomatoes: sentiment of film reviews.", labels=SENTIMENT),
    # ELMo
    _elmo("elmo", "lysandre/elmo-2x4096_512_2048cnn_2xhighway", "", 94, 374,
          "The original ELMo: vectors of words in their sentence."),
    _elmo("elmo-tiny", "lysandre/test-elmo-tiny", "", 0.1, 1, "The toy model that AllenNLP's own tests use."),
    _elmo("elmo-snli", "allenai/elmo_decomposable-attention_snli", "nli nli", 95, 378,
          "Decomposable attention on ELMo, trained on SNLI.",
          paper="Parikh et al. 2016, A Decomposable Attention Model for Natural Language Inference"),
    _elmo("elmo-bidaf", "lysandre/bidaf-elmo-model-2020.03.19", "qa qa", 112, 450,
          "BiDAF on ELMo, trained on SQuAD 1.1.",
          paper="Seo et al. 2017, Bidirectional Attention Flow for Machine Comprehension"),
    # ULMFiT
    _ulmfit("ulmfit-book-genre", "TheBritishLibrary/bl-books-genre-fastai", "classify classifier", 39, 158,
            "Fiction or not, by the title of a book of the 18th or 19th century."),
    _ulmfit("ulmfit-wiki-lm", "Junlaii/wiki_LSTM_fintune_final", "summarize lm", 48, 194,
            "A language model of Wikipedia, exported from fastai."),
)  # fmt: skip


def add(row: Checkpoint) -> None:
    """Put a checkpoint of the user's behind all others; see zoo/own.py."""
    global CHECKPOINTS
    CHECKPOINTS = (*CHECKPOINTS, row)


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


def family(name: str) -> FamilyCard:
    """What a visitor reads of the family of that name; zoo/models/ computes it."""
    return next(f for f in FAMILIES if f.name == name)
