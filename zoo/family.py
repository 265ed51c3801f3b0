"""What a family declares, and what a loaded checkpoint is.

A family is one file in zoo/models/ that ends in `FAMILY = Family(...)`. Everything else in the project reads this
record and knows no family by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Protocol, get_type_hints, runtime_checkable

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.contracts import Batch, HeadSpec, Hidden, LayerMix, MixesLayers, State, Tokenizer, Trace
from zoo.errors import BadCheckpoint, Unsupported
from zoo.families import FamilyCard
from zoo.weights.keymap import KeyTable, LoadReport
from zoo.weights.layout import Layout, Opened

MOST_LABELS = 100_000
COPIES = (".packed.", ".short_texts.")  # modules that hold weights of others a second time


class Body(Protocol):
    """What the module of a family's body can do beside being an nn.Module."""

    @property
    def input_embedding(self) -> nn.Module:
        """The module that turns ids into a vector for each token, [N, D]; see zoo/engine/explain.py."""

    def __call__(self, batch: Batch, state: State | None = None, trace: Trace | None = None) -> Hidden:
        """Rows of the last layer, and the grown state if one was given."""


@runtime_checkable
class HasOwnWords(Protocol):
    """A head that looks up vectors of tokens itself, beside those of the body."""

    @property
    def own_words(self) -> nn.Module | None:
        """What gives [N, width] for the tokens of a batch, if there is such a thing."""


class Network(nn.Module):
    """A body and its heads. Holds parameters only; everything that belongs to one request travels as a value."""

    def __init__(self, body: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.body = body
        self.heads = nn.ModuleDict(dict(heads))

    def embeddings(self, head: str) -> list[nn.Module]:
        """The modules that turn ids into a vector for each token: of the body, and of a head that has its own."""
        module = self.body.input_embedding
        assert isinstance(module, nn.Module)
        own = self.heads[head]
        beside = own.own_words if isinstance(own, HasOwnWords) else None
        return [module] if beside is None else [module, beside]

    def forward(self, batch: Batch, head: str) -> Tensor:
        """Scores of `head`: [B, K] for texts, [N, K] for tokens and spans, [N, V] for language models."""
        return self.heads[head](self.body(batch).last, batch)

    def scores(self, batch: Batch, heads: Sequence[str], per_text: Collection[str]) -> list[Tensor]:
        """What its own head says of each text, [K] from those named in `per_text`, [T, K] from others. The body reads
        all texts at once, whichever heads they are for."""
        last = self.body(batch).last
        made: dict[int, Tensor] = {}
        for head in dict.fromkeys(heads):
            mine = [index for index, name in enumerate(heads) if name == head]
            rows, part = (last, batch) if len(mine) == len(heads) else batch.only(mine, last)
            scores = self.heads[head](rows, part)
            made |= zip(mine, scores if head in per_text else part.split(scores), strict=True)
        return [made[index] for index in range(len(heads))]


@dataclass(frozen=True)
class Family:
    """One architecture: how its config, network, key table, heads and tokenizer come to be."""

    card: FamilyCard
    model_types: tuple[str, ...]  # values of `model_type` in config.json that mean this family
    read_config: Callable[[Mapping[str, Any], LoadReport], Any]
    build: Callable[[Any, Mapping[str, HeadSpec]], Network]  # config, heads -> network
    heads_in: Callable[[Collection[str], Mapping[str, Any]], dict[str, HeadSpec]]  # keys of a file, raw config -> heads
    keys: Callable[[Any, Mapping[str, HeadSpec], Collection[str]], KeyTable]
    read_tokenizer: Callable[[Opened, Any], Tokenizer]  # files, config -> tokenizer
    tokenizer_files: tuple[str, ...]
    longest: Callable[[Any], int]  # tokens the model can read at once
    new_state: Callable[[Any, int, int, Tensor], State] | None = None  # config, texts, capacity, like
    vocabulary: Callable[[Any], int] = lambda config: int(config.vocab_size)  # rows of the embedding
    layouts: tuple[Layout, ...] = ()  # how its checkpoints are published beside config.json with a model_type

    @property
    def name(self) -> str:
        """By which the catalog knows it."""
        return self.card.name

    @property
    def title(self) -> str:
        """As people write it."""
        return self.card.title


@dataclass(frozen=True)
class Model:
    """A checkpoint in memory, ready to answer."""

    name: str  # what the user asked for
    family: Family
    config: Any
    network: Network
    tokenizer: Tokenizer
    heads: Mapping[str, HeadSpec]
    source: str  # repository or folder
    revision: str  # commit, or "local"
    report: LoadReport
    extra: Mapping[str, Any] = field(default_factory=dict)  # what config.json says beside the architecture

    @property
    def longest(self) -> int:
        """Tokens it can read at once, special tokens included."""
        return self.family.longest(self.config)

    @property
    def parameters(self) -> int:
        """Number of parameters, shared ones once; copies that are laid out for the processor do not count."""
        named = self.network.named_parameters()
        return sum(p.numel() for name, p in named if not any(copy in name for copy in COPIES))

    @property
    def bytes(self) -> int:
        """Memory its parameters take, copies included."""
        return sum(p.numel() * p.element_size() for p in self.network.parameters())

    @property
    def mixes(self) -> list[tuple[str, LayerMix]]:
        """(head, mix) of every learned mix of layers in its heads."""
        return [
            (name, part.layer_mix)
            for name, head in self.network.heads.items()
            for part in head.modules()
            if isinstance(part, MixesLayers)
        ]

    def head(self, kind: str, name: str | None = None) -> str:
        """The name of its head of `kind`; `name` chooses when there are several. Raises Unsupported."""
        fitting = [n for n, spec in self.heads.items() if spec.kind == kind]
        if name is not None and name not in fitting:
            has = f"it has: {', '.join(fitting)}" if fitting else "it has none"
            raise Unsupported(f"{self.name} has no {kind} head named {name!r}; {has}.", heads=fitting)
        if not fitting:
            has = ", ".join(f"{n} ({s.kind})" for n, s in self.heads.items()) or "none"
            raise Unsupported(f"{self.name} has no {kind} head (its heads: {has}). Choose another model.", heads=[])
        if name is None and len(fitting) > 1:
            raise Unsupported(
                f"{self.name} has {len(fitting)} {kind} heads: {', '.join(fitting)}. Name one of them.", heads=fitting
            )
        return name or fitting[0]


def read_fields(config_class: type, raw: Mapping[str, Any], report: LoadReport, family: str) -> dict[str, Any]:
    """The values of a config dataclass out of config.json.

    A field with a default is one that the format itself supplies when a file leaves it out; taking it is noted in the
    report. Raises BadCheckpoint naming every field that is missing, or of another type.
    """
    values, missing, wrong = {}, [], []
    kinds = get_type_hints(config_class)
    for spec in fields(config_class):
        if spec.name in raw:
            value = values[spec.name] = raw[spec.name]
            kind = int | float if kinds[spec.name] is float else kinds[spec.name]
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                wrong.append(f"{spec.name} = {value!r}")
        elif spec.default is MISSING:
            missing.append(spec.name)
        else:
            report.notes.append(f"config.json has no {spec.name}; the format's own value is {spec.default!r}")
    if missing:
        raise BadCheckpoint(f"config.json lacks {', '.join(missing)}, which {family} needs.")
    if wrong:
        raise BadCheckpoint(f"config.json has values of the wrong type for {family}: {', '.join(wrong)}.")
    return values


def require(raw: Mapping[str, Any], family: str, **allowed: tuple[Any, ...]) -> None:
    """Refuse variants that this family file does not compute. Raises BadCheckpoint naming every such value."""
    wrong = [
        f"{name} = {raw[name]!r} (this zoo computes {' or '.join(map(repr, values))})"
        for name, values in allowed.items()
        if name in raw and raw[name] not in values
    ]
    if wrong:
        raise BadCheckpoint(f"config.json asks for what {family} here does not compute: {'; '.join(wrong)}.")


def labels_of(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Label names in the order of the scores, from `id2label`; LABEL_0, LABEL_1 when the config leaves it out."""
    names = raw.get("id2label")
    if not names:
        count = int(raw.get("num_labels", 2))
        if not 0 < count <= MOST_LABELS:
            raise BadCheckpoint(f"config.json: num_labels is {count}; it must be from 1 to {MOST_LABELS:,}.")
        return tuple(f"LABEL_{i}" for i in range(count))
    return tuple(str(names[key]) for key in sorted(names, key=int))


class _Uninitialised(TorchFunctionMode):
    """Under it modules draw no first values: the loader fills them, and the first random draw without memory would
    make torch import its compiler, which takes longer than reading BERT."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass everything on but torch.nn.init, whose functions give back the tensor they are given."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def empty_network(family: Family, config: Any, heads: Mapping[str, HeadSpec]) -> Network:
    """The network without memory for its parameters, to be filled by a loader."""
    with torch.device("meta"), _Uninitialised():
        return family.build(config, heads).eval()
