"""Who descends from whom: the systems of the field, month by month, and the idea that each took from its parents.

SYSTEMS is data. `month` is that of the first preprint (the number of an arXiv paper begins with it), or of the first
publication where there was none. A system that the zoo builds has the name of its family in the catalog as its key.
"""

from __future__ import annotations

from dataclasses import dataclass

from zoo import catalog
from zoo.catalog import Checkpoint


@dataclass(frozen=True)
class Parent:
    """A system that another one builds on, and what the younger one does otherwise."""

    key: str
    change: str


@dataclass(frozen=True)
class System:
    """One paper's model. `checkpoints` are those of the catalog that are its own, and not only of its architecture."""

    key: str
    title: str
    month: str  # 2018-10
    authors: str
    paper: str
    url: str
    idea: str  # in one sentence
    parents: tuple[Parent, ...] = ()
    checkpoints: tuple[str, ...] = ()

    @property
    def built(self) -> bool:
        """Whether the zoo has it as a family."""
        return any(family.name == self.key for family in catalog.FAMILIES)


def _arxiv(number: str) -> str:
    return f"https://arxiv.org/abs/{number}"


SYSTEMS: tuple[System, ...] = (
    System(
        "word2vec", "word2vec", "2013-01", "Mikolov et al.",
        "Efficient Estimation of Word Representations in Vector Space", _arxiv("1301.3781"),
        "A vector for each word, learned by guessing a word from its neighbours, or the neighbours from the word.",
    ),
    System(
        "doc2vec", "doc2vec", "2014-05", "Le & Mikolov",
        "Distributed Representations of Sentences and Documents", _arxiv("1405.4053"),
        "A vector for a whole paragraph, learned along with those of its words.",
        (Parent("word2vec", "The paragraph has a vector of its own, which helps to guess each of its words."),),
    ),
    System(
        "glove", "GloVe", "2014-10", "Pennington et al.",
        "GloVe: Global Vectors for Word Representation", "https://aclanthology.org/D14-1162/",
        "Word vectors whose products fit how often words occur together.",
        (Parent("word2vec", "Learns from counts over the whole corpus instead of one window after the other."),),
    ),
    System(
        "skip-thought", "Skip-Thought", "2015-06", "Kiros et al.", "Skip-Thought Vectors", _arxiv("1506.06726"),
        "A vector for a sentence, from which the sentences before and after it can be written.",
        (Parent("word2vec", "Guesses neighbouring sentences, where word2vec guesses neighbouring words."),),
    ),
    System(
        "sa-lstm", "SA-LSTM", "2015-11", "Dai & Le", "Semi-supervised Sequence Learning", _arxiv("1511.01432"),
        "An LSTM first learns to guess or to repeat unlabelled text; the same weights then learn to label it.",
        (Parent("skip-thought", "Repeats its own text or guesses the next word; the whole network is fine-tuned."),),
    ),
    System(
        "context2vec", "context2vec", "2016-08", "Melamud et al.",
        "context2vec: Learning Generic Context Embedding with Bidirectional LSTM", "https://aclanthology.org/K16-1006/",
        "A vector for the place of a word, from all words on both sides of it.",
        (Parent("word2vec", "Reads the whole sentence with two LSTMs, where word2vec averages a window."),),
    ),
    System(
        "taglm", "TagLM", "2017-05", "Peters et al.",
        "Semi-supervised sequence tagging with bidirectional language models", _arxiv("1705.00108"),
        "A tagger reads, beside the vectors of words, what two language models say of them in their sentence.",
        (Parent("sa-lstm", "The language models stay as they are; their states are features of another network."),),
    ),
    System(
        "transformer", "Transformer", "2017-06", "Vaswani et al.",
        "Attention Is All You Need", _arxiv("1706.03762"),
        "Words look at each other directly, by attention, so that no network has to read them one by one.",
    ),
    System(
        "cove", "CoVe", "2017-08", "McCann et al.",
        "Learned in Translation: Contextualized Word Vectors", _arxiv("1708.00107"),
        "The encoder of a translation model describes each word in its sentence.",
        (Parent("glove", "Adds, to the vector of a word alone, one that depends on the words around it."),),
    ),
    System(
        "awd-lstm", "AWD-LSTM", "2017-08", "Merity et al.",
        "Regularizing and Optimizing LSTM Language Models", _arxiv("1708.02182"),
        "A plain LSTM becomes a very good language model with the right dropouts, also on its recurrent weights.",
    ),
    System(
        "ulmfit", "ULMFiT", "2018-01", "Howard & Ruder",
        "Universal Language Model Fine-tuning for Text Classification", _arxiv("1801.06146"),
        "One language model, fine-tuned in stages, classifies texts of any kind from few labels.",
        (
            Parent("sa-lstm", "Pre-trained on general text, then unfrozen layer by layer, with slower rates below."),
            Parent("awd-lstm", "Takes it as its body, and learns to classify with it."),
        ),
    ),
    System(
        "elmo", "ELMo", "2018-02", "Peters et al.",
        "Deep contextualized word representations", _arxiv("1802.05365"),
        "A word is described by all layers of a language model that reads in both directions.",
        (
            Parent("taglm", "All layers, in a mix that each task learns, instead of the top one alone."),
            Parent("cove", "A language model in place of translation, so that text without labels is enough."),
        ),
    ),
    System(
        "gpt", "GPT", "2018-06", "Radford et al.",
        "Improving Language Understanding by Generative Pre-Training",
        "https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf",
        "A Transformer learns to guess the next piece of text, then, with little change, to judge, answer and sort.",
        (
            Parent("transformer", "The decoder alone, as a language model."),
            Parent("ulmfit", "The same recipe, with a Transformer for the LSTM, and for pairs and choices, too."),
        ),
    ),
    System(
        "bert", "BERT", "2018-10", "Devlin et al.",
        "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", _arxiv("1810.04805"),
        "Fills in masked words, and so learns to look to both sides at once.",
        (
            Parent("gpt", "Each word sees those after it, too: masked words are guessed, not the next one."),
            Parent("elmo", "Both directions in every layer, instead of two language models put side by side."),
            Parent("transformer", "The encoder alone."),
        ),
    ),
    System(
        "transformer-xl", "Transformer-XL", "2019-01", "Dai et al.",
        "Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context", _arxiv("1901.02860"),
        "A language model that remembers the states of the text before, and so reads on without an end.",
        (Parent("transformer", "Keeps the states of the segment before, and tells places by distance."),),
    ),
    System(
        "xlm", "XLM", "2019-01", "Lample & Conneau",
        "Cross-lingual Language Model Pretraining", _arxiv("1901.07291"),
        "One model for many languages, which may look at the translation while it fills in a word.",
        (Parent("bert", "Also fills in pairs of translated sentences, so that languages share their vectors."),),
    ),
    System(
        "mt-dnn", "MT-DNN", "2019-01", "Liu et al.",
        "Multi-Task Deep Neural Networks for Natural Language Understanding", _arxiv("1901.11504"),
        "One encoder learns many tasks at once, with a head for each.",
        (Parent("bert", "Fine-tuned on all tasks together instead of a copy for each."),),
    ),
    System(
        "gpt2", "GPT-2", "2019-02", "Radford et al.", "Language Models are Unsupervised Multitask Learners",
        "https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf",
        "A language model large enough does tasks that it was never trained on, when its prompt hints at them.",
        (Parent("gpt", "Ten times larger, trained on web pages, spelled in bytes, asked without fine-tuning."),),
    ),
    System(
        "videobert", "VideoBERT", "2019-04", "Sun et al.",
        "VideoBERT: A Joint Model for Video and Language Representation Learning", _arxiv("1904.01766"),
        "Short clips of a video become tokens, which are masked and filled in along with the words spoken.",
        (Parent("bert", "Half of what it reads are clips, each named by the cluster it falls into."),),
    ),
    System(
        "ernie-baidu", "ERNIE (Baidu)", "2019-04", "Sun et al.",
        "ERNIE: Enhanced Representation through Knowledge Integration", _arxiv("1904.09223"),
        "Whole phrases and names are masked, so that filling them in takes knowledge.",
        (Parent("bert", "Masks phrases and entities as one, instead of single characters of Chinese."),),
    ),
    System(
        "mass", "MASS", "2019-05", "Song et al.",
        "MASS: Masked Sequence to Sequence Pre-training for Language Generation", _arxiv("1905.02450"),
        "The encoder reads a sentence with a gap, the decoder writes what was in it.",
        (
            Parent("transformer", "Encoder and decoder are pre-trained together, on text of one language alone."),
            Parent("bert", "A whole stretch is masked, and is written word by word instead of guessed at once."),
        ),
    ),
    System(
        "unilm", "UniLM", "2019-05", "Dong et al.",
        "Unified Language Model Pre-training for Natural Language Understanding and Generation", _arxiv("1905.03197"),
        "One network that reads both ways, one way, or one text and then writes another, by its attention mask.",
        (
            Parent("bert", "Other attention masks let the same weights also write."),
            Parent("gpt", "Guessing from the left is one of its exercises among others."),
        ),
    ),
    System(
        "ernie-thu", "ERNIE (Tsinghua)", "2019-05", "Zhang et al.",
        "ERNIE: Enhanced Language Representation with Informative Entities", _arxiv("1905.07129"),
        "Vectors of a knowledge graph's entities are mixed into those of the words that name them.",
        (Parent("bert", "Upper layers read words and entities, and learn which entity a word stands for."),),
    ),
    System(
        "bert-wwm", "BERT-wwm", "2019-06", "Cui et al.",
        "Pre-Training with Whole Word Masking for Chinese BERT", _arxiv("1906.08101"),
        "Chinese text is first cut into words, and all characters of a word are masked together.",
        (Parent("bert", "Masks whole words, so that no character gives away its neighbour."),),
        ("chinese-bert-wwm", "chinese-bert-wwm-ext", "chinese-roberta-wwm-ext", "chinese-roberta-wwm-ext-large",
         "chinese-mrc-large"),
    ),
    System(
        "xlnet", "XLNet", "2019-06", "Yang et al.",
        "XLNet: Generalized Autoregressive Pretraining for Language Understanding", _arxiv("1906.08237"),
        "Pieces are guessed one by one, but in random order, so that each learns from both sides without masks.",
        (
            Parent("transformer-xl", "Its memory and distances, with random orders and a second stream for guessing."),
            Parent("bert", "No masks in the text, and each guess may use the guesses before it."),
        ),
    ),
    System(
        "spanbert", "SpanBERT", "2019-07", "Joshi et al.",
        "SpanBERT: Improving Pre-training by Representing and Predicting Spans", _arxiv("1907.10529"),
        "Stretches of text are masked, and filled in from the two words at their borders.",
        (Parent("bert", "Masks stretches instead of single pieces, and reads one text instead of pairs."),),
    ),
    System(
        "roberta", "RoBERTa", "2019-07", "Liu et al.",
        "RoBERTa: A Robustly Optimized BERT Pretraining Approach", _arxiv("1907.11692"),
        "BERT was trained too little: more text, larger batches and new masks each time make the same network better.",
        (
            Parent("bert", "Ten times the text, masks drawn anew, no next sentences."),
            Parent("gpt2", "Spells text in bytes, as GPT-2 does."),
        ),
    ),
    System(
        "vilbert", "ViLBERT", "2019-08", "Lu et al.",
        "ViLBERT: Pretraining Task-Agnostic Visiolinguistic Representations for Vision-and-Language Tasks",
        _arxiv("1908.02265"),
        "One stream reads the words, one the regions of a picture, and they look at each other.",
        (Parent("bert", "A second stream for pictures, and attention between the two."),),
    ),
    System(
        "compact-bert", "Compact BERTs", "2019-08", "Turc et al.",
        "Well-Read Students Learn Better: On the Importance of Pre-training Compact Models", _arxiv("1908.08962"),
        "A small model profits most from a teacher if it was pre-trained itself.",
        (Parent("bert", "Two to twelve layers, pre-trained by filling in words, then taught by a large BERT."),),
        ("bert-tiny", "bert-tiny-google", "bert-tiny-mnli"),
    ),
    System(
        "knowbert", "KnowBERT", "2019-09", "Peters et al.",
        "Knowledge Enhanced Contextual Word Representations", _arxiv("1909.04164"),
        "Between two layers it links names to a knowledge base, and reads on with what stands there.",
        (Parent("bert", "Layers are put in between that find entities and attend to their vectors."),),
    ),
    System(
        "multifit", "MultiFiT", "2019-09", "Eisenschlos et al.",
        "MultiFiT: Efficient Multi-lingual Language Model Fine-tuning", _arxiv("1909.04761"),
        "ULMFiT's recipe for other languages, fast and with few labels.",
        (Parent("ulmfit", "Subwords for words, and quasi-recurrent layers for LSTMs."),),
    ),
    System(
        "tinybert", "TinyBERT", "2019-09", "Jiao et al.",
        "TinyBERT: Distilling BERT for Natural Language Understanding", _arxiv("1909.10351"),
        "A small model copies the attention and the states of a large one, layer by layer.",
        (Parent("bert", "Learns from BERT's layers, once before and once during fine-tuning."),),
        ("tinybert-4l",),
    ),
    System(
        "albert", "ALBERT", "2019-09", "Lan et al.",
        "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations", _arxiv("1909.11942"),
        "All layers share one set of weights.",
        (Parent("bert", "Shared layers, narrow word vectors, and the order of two sentences for the next sentence."),),
    ),
    System(
        "distilbert", "DistilBERT", "2019-10", "Sanh et al.",
        "DistilBERT, a distilled version of BERT: smaller, faster, cheaper and lighter", _arxiv("1910.01108"),
        "A student with half of the layers learns to say what its teacher says.",
        (Parent("bert", "Half of its layers, trained on BERT's own probabilities for masked words."),),
        ("distilgpt2",),
    ),
    System(
        "t5", "T5", "2019-10", "Raffel et al.",
        "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", _arxiv("1910.10683"),
        "Every task is text in, text out, from one encoder and decoder.",
        (
            Parent("transformer", "Pre-trained whole, with a learned bias for each distance."),
            Parent("bert", "Writes the masked stretches, and the answers to all tasks, instead of choosing labels."),
        ),
    ),
    System(
        "bart", "BART", "2019-10", "Lewis et al.",
        "BART: Denoising Sequence-to-Sequence Pre-training for Natural Language Generation, Translation, and "
        "Comprehension",
        _arxiv("1910.13461"),
        "Text is damaged in several ways, and the model writes it anew as it was.",
        (
            Parent("bert", "Its encoder, but masked stretches lose their length, and sentences are shuffled."),
            Parent("gpt", "Its decoder from left to right, which here also looks at the encoder."),
        ),
    ),
    System(
        "dialogpt", "DialoGPT", "2019-11", "Zhang et al.",
        "DialoGPT: Large-Scale Generative Pre-training for Conversational Response Generation", _arxiv("1911.00536"),
        "A language model of conversations gives replies.",
        (Parent("gpt2", "Trained further on threads of an internet forum."),),
        ("dialogpt-small",),
    ),
    System(
        "xlm-r", "XLM-R", "2019-11", "Conneau et al.",
        "Unsupervised Cross-lingual Representation Learning at Scale", _arxiv("1911.02116"),
        "With enough text, one model for a hundred languages needs no translations.",
        (
            Parent("xlm", "No translated pairs, but far more text of each language."),
            Parent("roberta", "Trained as RoBERTa is, in a hundred languages."),
        ),
    ),
    System(
        "minilm", "MiniLM", "2020-02", "Wang et al.",
        "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
        _arxiv("2002.10957"),
        "A small model copies how the last layer of a large one attends.",
        (
            Parent("bert", "A narrow student of BERT's last attention, before any fine-tuning."),
            Parent("tinybert", "Copies the last layer alone, so that it may have as many layers as it likes."),
        ),
        ("bert-mini", "minilm-squad2"),
    ),
    System(
        "electra", "ELECTRA", "2020-03", "Clark et al.",
        "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", _arxiv("2003.10555"),
        "Tells of every word whether it is the original or was put in by a small helper model.",
        (Parent("bert", "Learns from all words of a text, not only from the masked ones."),),
    ),
    System(
        "macbert", "MacBERT", "2020-04", "Cui et al.",
        "Revisiting Pre-Trained Models for Chinese Natural Language Processing", _arxiv("2004.13922"),
        "Masked words are replaced by similar ones, so that the text looks as it does in use.",
        (
            Parent("bert-wwm", "Similar words instead of masks."),
            Parent("albert", "Learns the order of two sentences, as ALBERT does."),
        ),
        ("chinese-mrc-macbert-large",),
    ),
    System(
        "gpt3", "GPT-3", "2020-05", "Brown et al.", "Language Models are Few-Shot Learners", _arxiv("2005.14165"),
        "A few examples in the prompt are enough to show a very large model what to do.",
        (Parent("gpt2", "A hundred times larger, and shown examples of the task."),),
    ),
    System(
        "deberta", "DeBERTa", "2020-06", "He et al.",
        "DeBERTa: Decoding-enhanced BERT with Disentangled Attention", _arxiv("2006.03654"),
        "What a word is and where it stands are two vectors, and attention compares both.",
        (Parent("roberta", "Distances are part of attention; absolute places come in only before the last step."),),
    ),
)  # fmt: skip


def get(key: str) -> System:
    """The system of that key."""
    return next(system for system in SYSTEMS if system.key == key)


def children(key: str) -> list[System]:
    """The systems that build on it, oldest first."""
    return [system for system in SYSTEMS if key in {parent.key for parent in system.parents}]


def of(row: Checkpoint) -> System:
    """The system that a checkpoint is of: the one that names it, else that of its architecture."""
    return next((system for system in SYSTEMS if row.name in system.checkpoints), None) or get(row.family)


def checkpoints(system: System) -> list[Checkpoint]:
    """The catalog's checkpoints of a system: its own ones, and all of its architecture."""
    return [row for row in catalog.CHECKPOINTS if row.family == system.key or row.name in system.checkpoints]


def beside(row: Checkpoint) -> tuple[Checkpoint, str] | None:
    """What a checkpoint is worth comparing with, and on which task: one of the nearest system above it that has any for
    a task and a language of its own. One that is at hand comes before nearer ones that must be downloaded."""
    level, seen, found = [of(row)], {of(row).key}, []
    while level:
        level = [get(parent.key) for system in level for parent in system.parents if parent.key not in seen]
        seen |= {system.key for system in level}
        for system in level:
            others = [one for one in checkpoints(system) if of(one) is system and set(one.tasks) & set(row.tasks)
                      and set(one.languages) & set(row.languages)]  # fmt: skip
            found += [(one, next(task for task in row.tasks if task in one.tasks)) for one in others]
    return next((pair for pair in found if pair[0].embedded), found[0] if found else None)
