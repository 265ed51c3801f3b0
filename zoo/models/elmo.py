"""ELMo (Peters et al. 2018, "Deep contextualized word representations"; original code allenai/bilm-tf bilm/model.py).

A language model of words in both directions, whose layers are mixed to describe a word in its sentence. Differs from
its elders: words are read by their characters, cells are clipped and projected, and no layer sees both directions.
N rows (words, with a row for <S> and </S> of each sentence), B texts, D width of one direction, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from zoo import families
from zoo.contracts import Batch, HeadSpec, Hidden, State, Tokenizer, Trace
from zoo.errors import BadCheckpoint, Unsupported
from zoo.family import Family, Model, Network, read_fields, require
from zoo.layers.activations import Activation, relu
from zoo.layers.highway import Highway
from zoo.layers.projected_lstm import ProjectedLstm, Steps
from zoo.layers.scalar_mix import ScalarMix, sentences
from zoo.models.elmo_files import LAYOUTS, MOST_LAYERS
from zoo.models.elmo_keys import rules
from zoo.models.elmo_readers import read_readers, reader
from zoo.models.elmo_tasks import Bidaf, DecomposableAttention, NliConfig, QaConfig
from zoo.tokenizers.chars import BEGIN, END, FORMAT, IDS, PADDING, UNKNOWN, CharacterRows, CharacterTokenizer, WordRows
from zoo.weights.allennlp import UNKNOWN as UNKNOWN_WORD
from zoo.weights.formats import read_json
from zoo.weights.keymap import KeyTable, LoadReport
from zoo.weights.layout import Opened

ACTIVATIONS: dict[str, Activation] = {"relu": relu, "tanh": torch.tanh}
LONGEST = 4096  # an LSTM has no longest text; this bounds the memory of one step of the engine
AT_ONCE = 256  # words whose characters are convolved together: the widest filters make 180 kB of each word


@dataclass(frozen=True)
class ElmoConfig:
    """Named as in options.json, without its two levels. Defaults are what bilm-tf takes for a value left out.

    `vocab_size` counts the words of a softmax that came with the weights; `nli` and `qa` describe published models
    around ELMo, `readers` (head -> ReaderConfig) those that were trained here.
    """

    n_characters: int
    max_characters_per_token: int
    char_dim: int
    filters: list | tuple  # of (width, number)
    activation: str
    dim: int  # cells
    projection_dim: int  # D
    use_skip_connections: bool
    n_layers: int = 1
    n_highway: int = 0
    cell_clip: int | float | None = None
    proj_clip: int | float | None = None
    do_layer_norm: bool = False
    vocab_size: int = 0
    nli: NliConfig | None = None
    qa: QaConfig | None = None
    readers: dict | None = None


def read_config(raw: Mapping[str, Any], report: LoadReport) -> ElmoConfig:
    """Check and read the options. Raises BadCheckpoint for missing values and variants not computed here."""
    n_characters = raw.get("n_characters")
    if n_characters == IDS - 1:
        raise BadCheckpoint(
            "ELMo's options say n_characters = 261, as they do during training. Set it to 262 to use the model."
        )
    require(raw, "ELMo", n_characters=(IDS,), activation=tuple(ACTIVATIONS))
    parts: dict[str, Any] = {}
    for name, kind in (("nli", NliConfig), ("qa", QaConfig)):
        inside = raw.get(name)
        parts[name] = None if inside is None else kind(**read_fields(kind, inside, report, f"ELMo ({name})"))
    parts["readers"] = None if raw.get("readers") is None else read_readers(raw["readers"], report)
    config = ElmoConfig(**read_fields(ElmoConfig, {**_extras(), **raw, **parts}, report, "ELMo"))
    for name, low, high in (("max_characters_per_token", 3, 1000), ("n_layers", 1, MOST_LAYERS), ("n_highway", 0, 64)):
        value = getattr(config, name)
        if not low <= value <= high:
            raise BadCheckpoint(f"ELMo's options say {name} = {value}; it must be from {low} to {high}.")
    widths = [width for width, number in config.filters if width > 0 < number]
    if not widths or len(widths) < len(config.filters) or max(widths) > config.max_characters_per_token:
        raise BadCheckpoint(
            f"ELMo's options say filters = {config.filters!r}; they are pairs of a width, at most "
            f"max_characters_per_token {config.max_characters_per_token}, and a number."
        )
    for name in ("cell_clip", "proj_clip"):
        clip = getattr(config, name)
        if clip is not None and not clip > 0:
            raise BadCheckpoint(f"ELMo's options say {name} = {clip}; it must be above 0, or null for none.")
    return config


def _extras() -> dict[str, Any]:
    """What options.json never says: it describes a language model without its softmax, and nothing around it."""
    return {"do_layer_norm": False, "vocab_size": 0}


class CharacterCnn(nn.Module):
    """A word from its characters: convolutions, the maximum over all places, highways, a projection.

    Kim et al. 2016, "Character-Aware Neural Language Models". The maximum is taken before the activation.
    """

    def __init__(self, config: ElmoConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.embedding = nn.Embedding(config.n_characters, config.char_dim)
        self.convolutions = nn.ModuleList(nn.Conv1d(config.char_dim, n, width) for width, n in config.filters)
        self.widest = max(width for width, _ in config.filters)
        filters = sum(number for _, number in config.filters)
        self.highways = nn.ModuleList(Highway(filters) for _ in range(config.n_highway))
        self.projection = nn.Linear(filters, config.projection_dim)

    def forward(self, ids: Tensor) -> Tensor:
        """Rows of character ids [N, C] -> [N, D]. Words that occur twice are computed once."""
        words, places = ids.unique(dim=0, return_inverse=True)
        return self.distinct(words)[places]

    def distinct(self, ids: Tensor) -> Tensor:
        """Rows of different words [n, C] -> [n, D], words of about the same length together.

        Behind the longest of them there is room for the widest filter to see nothing but padding, as it does in a whole
        row; so the maximum over all places is the same.
        """
        places = torch.arange(1, ids.shape[1] + 1, device=ids.device)
        lengths = (places * (ids != PADDING)).amax(1)  # [n]
        order = lengths.argsort()
        made = [self._project(ids[part, : int(lengths[part[-1]]) + self.widest]) for part in order.split(AT_ONCE)]
        return torch.cat(made)[order.argsort()]

    def _project(self, ids: Tensor) -> Tensor:
        letters = self.embedding(ids).transpose(1, 2)  # [n, E, C]
        x = torch.cat([self.activation(conv(letters).amax(-1)) for conv in self.convolutions], dim=-1)  # [n, filters]
        for highway in self.highways:
            x = highway(x)
        return self.projection(x)  # [n, D]


@dataclass(frozen=True)
class ElmoState:
    """Where the forward direction stands after the words read so far."""

    prompt_part: ClassVar[int] = 64  # it cannot go back

    hidden: Tensor  # [layers, B, D]
    memory: Tensor  # [layers, B, cells]
    lengths: tuple[int, ...]

    def parts(self) -> tuple[ElmoState, ...]:
        """Each text's own."""
        texts = zip(self.hidden.split(1, 1), self.memory.split(1, 1), self.lengths, strict=True)
        return tuple(ElmoState(hidden, memory, (length,)) for hidden, memory, length in texts)

    @staticmethod
    def joined(parts: Sequence[ElmoState]) -> ElmoState:
        """The texts of all."""
        return ElmoState(
            torch.cat([part.hidden for part in parts], 1),
            torch.cat([part.memory for part in parts], 1),
            tuple(length for part in parts for length in part.lengths),
        )

    def resumed(self, length: int, capacity: int) -> ElmoState | None:
        """The same at its end; what was before is not known any more."""
        return self if (length,) == self.lengths else None


class Elmo(nn.Module):
    """The language model without its softmax."""

    def __init__(self, config: ElmoConfig) -> None:
        super().__init__()
        self.characters = config.max_characters_per_token
        self.skip = config.use_skip_connections
        self.cells = config.dim
        self.words = CharacterCnn(config)
        shape = (config.projection_dim, config.dim, config.cell_clip, config.proj_clip)
        self.forwards = nn.ModuleList(ProjectedLstm(*shape) for _ in range(config.n_layers))
        self.backwards = nn.ModuleList(ProjectedLstm(*shape) for _ in range(config.n_layers))

    @property
    def input_embedding(self) -> nn.Module:
        """What turns ids into a vector for each token."""
        return self.words

    def forward(self, batch: Batch, state: State | None = None, trace: Trace | None = None) -> Hidden:
        """-> Hidden with rows [N, 1 + layers, 2D]: both directions side by side; the words themselves twice, first.

        A pair is a stream of two sentences: each direction goes on with the second from where it stood after the
        first, as the original does, whose LSTMs never forget between two calls. With a state only the forward
        direction is computed, and the other half is zero.
        """
        assert state is None or isinstance(state, ElmoState)
        words = self.words(batch.ids[:, : self.characters])  # [N, D]
        starts = [range(s, s + n) for s, n in zip(batch.starts, batch.lengths, strict=True)]
        grown = None
        if state is None:
            ahead, _ = self._read(self.forwards, words, starts, None)  # [N, D] each
            turned = [[row for b, e in text for row in range(e - 1, b - 1, -1)] for text in sentences(batch)]
            back, _ = self._read(self.backwards, words, turned, None)
        else:
            ahead, (hidden, memory) = self._read(self.forwards, words, starts, (state.hidden, state.memory))
            back = [torch.zeros_like(x) for x in ahead]
            lengths = tuple(past + new for past, new in zip(state.lengths, batch.lengths, strict=True))
            grown = ElmoState(hidden, memory, lengths)
        layers = [torch.cat(pair, dim=-1) for pair in zip([words, *ahead], [words, *back], strict=True)]  # [N, 2D] each
        if trace is not None:
            trace.layers.extend(layers)
        return Hidden(torch.stack(layers, dim=1), grown)

    def _read(
        self, layers: nn.ModuleList, x: Tensor, readings: list, start: tuple[Tensor, Tensor] | None
    ) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
        """One direction: x [N, D] -> every layer [N, D], and the hidden and memory of each at the end."""
        steps = Steps.of(readings, x.device)
        x = x[steps.rows]  # from here in the order of reading
        outputs, ends = [], []
        for index, layer in enumerate(layers):
            if start is None:
                first = x.new_zeros(len(readings), x.shape[1]), x.new_zeros(len(readings), self.cells)
            else:
                first = start[0][index][steps.texts], start[1][index][steps.texts]
            out, *end = layer(x, steps.sizes, *first)
            x = out + x if self.skip and index else out  # the first layer's input, the word, is not added
            outputs.append(steps.undo(x))
            ends.append([steps.undo_texts(part) for part in end])
        hidden, memory = (torch.stack(parts) for parts in zip(*ends, strict=True))
        return outputs, (hidden, memory)


class Features(nn.Module):
    """ELMo's vectors of words: the mix of all layers."""

    def __init__(self, layers: int, norm: bool) -> None:
        super().__init__()
        self.mix = ScalarMix(layers, norm)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, layers, 2D] -> [N, 2D]."""
        return self.mix(rows, batch)


class BothWays(nn.Module):
    """Scores of the next word, and of the one before, from the top layer; one softmax serves both directions."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, vocabulary)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """Of the next word: [N, layers, 2D] -> [N, V]."""
        return self.out(rows[:, -1, : self.out.in_features])

    def before(self, rows: Tensor) -> Tensor:
        """Of the word before: [N, layers, 2D] -> [N, V]."""
        return self.out(rows[:, -1, self.out.in_features :])


def log_probabilities(model: Model, text: str) -> tuple[Tensor, Tensor]:
    """How likely each word is after those before it, and before those after it (section 3.1), as logarithms [T + 1].

    The first ends with </S>, the second begins with <S>. Words outside of the vocabulary count as <UNK>.
    Raises Unsupported when the weights came without their softmax.
    """
    tokenizer = model.tokenizer
    head = model.network.heads[model.head("lm")]
    if not isinstance(head, BothWays) or not isinstance(tokenizer, CharacterTokenizer):
        raise Unsupported(f"{model.name} does not score words in both directions. Choose an ELMo with its softmax.")
    pieces = tokenizer.pieces(text)
    words = [BEGIN, *(text[begin:end] for begin, end in pieces.offsets), END]
    index = torch.tensor([[tokenizer.index.get(word, tokenizer.index[UNKNOWN])] for word in words])  # [T + 2, 1]
    batch = Batch.of([tokenizer.assemble(pieces)], next(model.network.parameters()).device)
    rows, index = model.network.body(batch).last, index.to(batch.ids.device)
    ahead, back = [], []
    for t in range(len(words) - 1):  # one row at a time: a vocabulary of 800,000 words takes 3 MB each
        ahead.append(head(rows[t : t + 1], batch).log_softmax(-1).gather(1, index[t + 1 : t + 2])[0, 0])
        back.append(head.before(rows[t + 1 : t + 2]).log_softmax(-1).gather(1, index[t : t + 1])[0, 0])
    return torch.stack(ahead), torch.stack(back)


def build(config: ElmoConfig, heads: Mapping[str, HeadSpec]) -> Network:
    """The body with the named heads."""
    layers, width, norm = 1 + config.n_layers, 2 * config.projection_dim, config.do_layer_norm

    def head(name: str, spec: HeadSpec) -> nn.Module:
        if config.readers and name in config.readers:
            return reader(config.readers[name], spec, layers, width, norm)
        if spec.kind == "features":
            return Features(layers, norm)
        if spec.kind == "lm":
            return BothWays(config.vocab_size, config.projection_dim)
        if spec.kind == "classifier":
            assert config.nli is not None, "a classifier on ELMo is decomposable attention"
            return DecomposableAttention(config.nli, layers, width, norm)
        assert spec.kind == "span" and config.qa is not None, f"ELMo has no {spec.kind} head"
        return Bidaf(config.qa, layers, width, norm, config.max_characters_per_token)

    return Network(Elmo(config), {name: head(name, spec) for name, spec in heads.items()})


def heads_in(keys: Collection[str], raw: Mapping[str, Any]) -> dict[str, HeadSpec]:
    """The model around ELMo if there is one, else its vectors, and with a softmax its language model."""
    if raw.get("nli") is not None:
        return {"nli": HeadSpec("classifier", tuple(raw["labels"]))}
    if raw.get("qa") is not None:
        return {"qa": HeadSpec("span")}
    return {"features": HeadSpec("features")} | ({"lm": HeadSpec("lm")} if raw.get("vocab_size") else {})


def keys(config: ElmoConfig, heads: Mapping[str, HeadSpec], names: Collection[str]) -> KeyTable:
    """How published names become ours; zoo/models/elmo_keys.py has the table."""
    return KeyTable(rules(tuple(heads), 1 + config.n_layers))


def read_tokenizer(files: Opened, config: ElmoConfig) -> Tokenizer:
    """Rows of characters; the words come with the weights, or from our own tokenizer.json."""
    words, path = files.vocabulary, files.folder / "tokenizer.json"
    if not words and path.is_file():
        described = read_json(path)
        if described.get("format") != FORMAT or not isinstance(described.get("words"), list):
            raise BadCheckpoint(f"{path} is no list of words for ELMo.")
        words = tuple(map(str, described["words"]))
    expected = config.qa.vocab_size if config.qa else config.vocab_size
    if len(words) != expected:
        raise BadCheckpoint(f"{files.folder} lists {len(words)} words, the model knows {expected}. They do not belong.")
    characters = CharacterRows(config.max_characters_per_token)
    if config.qa is not None:
        begin, end, unknown = (tuple(config.qa.letter_start), tuple(config.qa.letter_end), UNKNOWN_WORD)
        if unknown not in words:
            raise BadCheckpoint(f"The words of {files.folder} lack {unknown}.")
        return CharacterTokenizer(WordRows(characters, words, words.index(unknown), begin, end), words)
    inside = (tuple(config.nli.start_tokens), tuple(config.nli.end_tokens)) if config.nli else ((), ())
    return CharacterTokenizer(characters, words, inside, generates=bool(words))


def new_state(config: ElmoConfig, texts: int, capacity: int, like: Tensor) -> ElmoState:
    """The beginning of `texts` texts; there is room for any number of words."""
    hidden = like.new_zeros(config.n_layers, texts, config.projection_dim)
    return ElmoState(hidden, like.new_zeros(config.n_layers, texts, config.dim), (0,) * texts)


FAMILY = Family(
    families.ELMO,
    model_types=("elmo",),
    read_config=read_config,
    build=build,
    heads_in=heads_in,
    keys=keys,
    read_tokenizer=read_tokenizer,
    tokenizer_files=("tokenizer.json",),
    longest=lambda config: LONGEST,
    new_state=new_state,
    vocabulary=lambda config: config.qa.vocab_size if config.qa else config.vocab_size or config.n_characters,
    layouts=LAYOUTS,
)
