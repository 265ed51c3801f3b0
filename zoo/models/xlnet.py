"""XLNet (Yang et al. 2019, https://arxiv.org/abs/1906.08237; original code zihangdai/xlnet modeling.py).

Differs from BERT: attention by distance instead of positions, so no longest text; segments count only as same or
different; learnt by predicting tokens in random order, for which a second stream of rows knows the place of a token
but not the token. Memories carry the layers of the text before. Norm comes after each sum; <cls> is the last token.

N rows, G rows of the second stream, D width, B texts, H heads, E width of one head, V vocabulary, K labels; in one
text T tokens after M of memory, J = M + T.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo import families
from zoo.contracts import Batch, HeadSpec, Hidden, State, Tokenizer, Trace
from zoo.errors import BadCheckpoint, Unsupported
from zoo.family import Family, Model, Network, labels_of, read_fields, require
from zoo.heads import Classifier, LanguageModel, Pooler, RowScores
from zoo.layers.activations import Activation, gelu_erf, gelu_tanh, relu
from zoo.layers.attention import KeyValues
from zoo.layers.blocks import FeedForward, PostNormBlock
from zoo.layers.pooling import last_token, mean_token
from zoo.layers.relative import Memory, Places, RelativeAttention, View, distances
from zoo.models.reading import ReadingPair, ReadingSpan, with_reader
from zoo.models.xlnet_heads import BeamSpan
from zoo.models.xlnet_keys import keys
from zoo.models.xlnet_state import Onward, Prefix
from zoo.tokenizers.sentencepiece import sentencepiece
from zoo.weights.keymap import LoadReport
from zoo.weights.layout import Opened

# "gelu" was the tanh form in the original code; the reference library computes the exact one for the same files, and
# fine-tuned checkpoints come from it.
ACTIVATIONS: dict[str, Activation] = {"gelu": gelu_erf, "gelu_new": gelu_tanh, "relu": relu}
POOLS = {"last": last_token, "mean": mean_token}  # `summary_type`: the row of <cls>, which stands last; or all rows
LONGEST = 512  # no limit of the architecture: the length it was trained at, and fine-tuned at, in the paper
SPECIALS = ("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>")


@dataclass(frozen=True)
class XlnetConfig:
    """Named as in config.json. Defaults are what the reference code takes when a file leaves the field out."""

    vocab_size: int
    d_model: int
    n_layer: int
    n_head: int
    d_inner: int
    ff_activation: str = "gelu"
    d_head: int | None = None  # null means the width divided among the heads
    attn_type: str = "bi"  # "uni": no token looks ahead
    same_length: bool = False
    clamp_len: int = -1  # the largest distance told apart; not above 0 for no limit
    mem_len: int | None = 512  # tokens of memory that are kept; null or 0 keeps all
    reuse_len: int | None = None  # of each new text only so many tokens are remembered; null or 0 for all
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1
    summary_last_dropout: float = 0.1
    summary_type: str = "last"  # of POOLS
    start_n_top: int = 5
    end_n_top: int = 5
    tie_word_embeddings: bool = True
    continue_type: str = "bi"  # not in published files; "uni": no token looks ahead while a text is continued
    reader: int = 0  # of this project's checkpoints: width of the heads that read the rows again; 0 for linear maps
    pair_heads: tuple = ()  # names of the classifiers that compare two texts

    @property
    def head_size(self) -> int:
        """E."""
        return self.d_head or self.d_model // self.n_head


def read_config(raw: Mapping[str, Any], report: LoadReport) -> XlnetConfig:
    """Check and read config.json. Raises BadCheckpoint for missing fields and variants not computed here.

    `untie_r` may say either: every published file has the biases of each layer, equal ones where they were shared.
    """
    if "n_token" in raw and "vocab_size" not in raw:  # files of 2019
        raw = {**raw, "vocab_size": raw["n_token"]}
    raw = with_reader(raw)
    require(
        raw,
        "XLNet",
        ff_activation=tuple(ACTIVATIONS),
        attn_type=("bi", "uni"),
        continue_type=("bi", "uni"),
        bi_data=(False,),  # two directions in one batch: a matter of pre-training
        summary_type=tuple(POOLS),
        summary_use_proj=(True,),
        summary_activation=("tanh",),
    )
    config = XlnetConfig(**read_fields(XlnetConfig, raw, report, "XLNet"))
    if config.d_model % 2:
        raise BadCheckpoint(f"config.json: d_model is {config.d_model}; half of it are sines, so it must be even.")
    return config


@dataclass(frozen=True)
class Streams:
    """What a pass with a permutation gives."""

    content: Tensor  # [N, D]
    query: Tensor  # [G, D], target after target, text after text
    memory: Memory | None = None


class Xlnet(nn.Module):
    """The encoder, with one or both streams."""

    def __init__(self, config: XlnetConfig) -> None:
        super().__init__()
        self.config = config
        width, drop = config.d_model, config.dropout
        self.word = nn.Embedding(config.vocab_size, width)
        self.masked = nn.Parameter(torch.zeros(width))  # stands for a token that is to be guessed
        self.blocks = nn.ModuleList(
            PostNormBlock(
                RelativeAttention(width, config.n_head, config.head_size, drop),
                FeedForward(width, config.d_inner, ACTIVATIONS[config.ff_activation]),
                width,
                config.layer_norm_eps,
                drop,
            )
            for _ in range(config.n_layer)
        )
        self.dropout = nn.Dropout(drop)
        self._known: Places | None = None

    @property
    def input_embedding(self) -> nn.Module:
        """What turns ids into a vector for each token."""
        return self.word

    def forward(self, batch: Batch, state: State | None = None, trace: Trace | None = None) -> Hidden:
        """-> Hidden with rows [N, D]; with a Memory, after it, and the memory that holds these texts, too.

        With a Prefix or Onward the texts of the batch go on: -> rows [B, D], one for the token that comes next in each.
        """
        if isinstance(state, Prefix):
            return self._next(batch, state)
        if isinstance(state, Onward):
            return self._onward(batch, state)
        assert state is None or isinstance(state, Memory)
        if state is None:
            views = [self._view(batch, first, count) for first, count, _, _ in batch.groups]
        else:
            views = [self._view(batch, text, 1, past) for text, past in enumerate(state.lengths)]
        streams = self._run(batch, views, [], state, trace)
        return Hidden(streams.content, streams.memory)

    def permuted(
        self,
        batch: Batch,
        unseen: Sequence[Tensor],
        targets: Sequence[Sequence[int]],
        memory: Memory | None = None,
        trace: Trace | None = None,
    ) -> Streams:
        """Both streams over texts whose tokens are predicted in some order (section 2.3 of the paper).

        `unseen` has for each text [T, T] which token (row) may not see which (column); a token of the content stream
        sees itself nevertheless. `targets` are the tokens of each text to be guessed, each at most once: rows of the
        query stream, which know where they stand but not what stands there. All see all of the memory. `trace` gets
        content and query by turns.
        """
        past = memory.lengths if memory is not None else (0,) * len(batch.lengths)
        content, query = [], []
        for text, (mask, asked) in enumerate(zip(unseen, targets, strict=True)):
            asking = torch.tensor([asked], dtype=torch.long, device=mask.device)  # [1, Q]
            content.append(self._view(batch, text, 1, past[text], _but_itself(mask[None])))
            query.append(self._view(batch, text, 1, past[text], mask[None], asking))
        return self._run(batch, content, query, memory, trace)

    def guesses(self, batch: Batch, unseen: Tensor, targets: Tensor | None) -> Tensor:
        """The query stream of `permuted` for texts of equal length with as many targets each, computed together.

        `unseen` is [B, T, T], or [1, T, T] if all texts have one order; `targets` [B, Q], None if all tokens are
        -> [B * Q, D].
        """
        texts, length = len(batch.lengths), batch.lengths[0]
        content = [self._view(batch, 0, texts, 0, _but_itself(unseen))]
        query = [self._view(batch, 0, texts, 0, unseen, targets)]
        x = self.dropout(self.word(batch.ids))  # [N, D]
        places = self._places(length, length, x)
        g = self.dropout(self.masked.expand(query[0].rows, -1))  # [B * Q, D]
        for index, block in enumerate(self.blocks):
            attention = block.get_submodule("attention")
            assert isinstance(attention, RelativeAttention)
            sight = attention.sight(x, None, places, content)
            g = block(g, batch, sight.by(query))
            if index + 1 < len(self.blocks):  # none asks what the last layer makes of the content
                x = block(x, batch, sight)
        return self.dropout(g)

    def _next(self, batch: Batch, state: Prefix) -> Hidden:
        """Append a token that none sees, and guess it; which id it has does not matter."""
        ids = tuple(old + tuple(new.tolist()) for old, new in zip(state.ids, batch.split(batch.ids), strict=True))
        whole = Batch.continuing([(*text, 0) for text in ids], (0,) * len(ids), batch.ids.device)
        unseen = [torch.zeros(n, n, dtype=torch.bool, device=batch.ids.device) for n in whole.lengths]
        for mask in unseen:
            mask[:, -1] = True
        return Hidden(self.permuted(whole, unseen, [[len(text)] for text in ids]).query, Prefix(ids))

    def _onward(self, batch: Batch, state: Onward) -> Hidden:
        """Read the new tokens, and ask from the place behind them, where nothing stands yet: the row after those of
        each text, which goes through the layers along with them."""
        views, asking = [], []
        for text, (before, length) in enumerate(zip(state.lengths, batch.lengths, strict=True)):
            tokens = torch.arange(length + 1, device=batch.ids.device)[None]
            views.append(View.of(batch, text, 1, before, None, tokens).back_only(same_length=False))
            asking.append(View.of(batch, text, 1, before, None, tokens[:, -1:]))
        far, long = max(v.memory + v.length for v in views), max(batch.lengths)
        asks = batch.last_rows + torch.arange(1, 1 + len(views), device=batch.ids.device)  # [B]
        standing = torch.ones(len(batch.ids) + len(asks), dtype=torch.bool, device=batch.ids.device)
        standing[asks] = False
        content = standing.nonzero()[:, 0]  # [N]
        rows = self.masked.expand(len(standing), -1).index_put((content,), self.word(batch.ids))  # [N + B, D]
        rows = self.dropout(rows)
        places = self._places(far, long, rows)
        for index, block in enumerate(self.blocks):
            attention = block.get_submodule("attention")
            assert isinstance(attention, RelativeAttention)
            past = state.kept.layer(index)
            told = attention.told(rows.index_select(0, content)).split(list(batch.lengths), dim=2)  # each [2, H, T, E]
            pairs = [past.write(text, new)[:, None] for text, new in enumerate(told)]  # each [2, 1, H, J, E]
            last = index + 1 == len(self.blocks)  # none asks what it makes of the content
            sight = attention.sight_of([(pair[0], pair[1]) for pair in pairs], places, asking if last else views)
            rows = block(rows.index_select(0, asks) if last else rows, batch, sight)
        return Hidden(self.dropout(rows), Onward(state.kept.grown(batch.lengths)))

    def _places(self, before: int, after: int, like: Tensor) -> Places:
        """The distances before, ..., 1 - after, at least."""
        config = self.config
        if self.training or torch.is_grad_enabled() or torch.is_autocast_enabled(like.device.type):
            return Places(self.dropout(distances(before, after, config.d_model, config.clamp_len, like)), before)
        made = Places.of(before, after, config.d_model, config.clamp_len, like, self._known)
        if made.kept:
            self._known = made
        return made

    def _view(self, batch: Batch, first: int, count: int, *more: Any) -> View:
        """What the tokens of `count` texts from `first` on, all of equal length, may look at."""
        view = View.of(batch, first, count, *more)
        return view.back_only(self.config.same_length) if self.config.attn_type == "uni" else view

    def _run(
        self, batch: Batch, content: Sequence[View], query: Sequence[View], memory: Memory | None, trace: Trace | None
    ) -> Streams:
        """Through all layers; without query views the content stream alone."""
        config, x = self.config, self.dropout(self.word(batch.ids))  # [N, D]
        far, long = max(v.memory + v.length for v in content), max(v.length for v in content)
        places = self._places(far, long, x)
        g = self.dropout(self.masked.expand(sum(view.rows for view in query), -1))  # [G, D]
        layers: list[Tensor] = []
        lengths: tuple[int, ...] = ()
        for index, block in enumerate(self.blocks):
            old = memory.layers[index] if memory is not None else None
            if memory is not None:
                kept = memory.grown(index, x, batch, config.mem_len, config.reuse_len)
                layers.append(torch.cat(kept))
                lengths = tuple(map(len, kept))
            if trace is not None:
                trace.layers.extend([x, g] if query else [x])
            attention = block.get_submodule("attention")
            assert isinstance(attention, RelativeAttention)
            sight = attention.sight(x, old, places, content)
            x = block(x, batch, sight, trace)
            if query:
                g = block(g, batch, sight.by(query), trace)
        if trace is not None:
            trace.layers.extend([x, g] if query else [x])
        grown = Memory(tuple(layers), lengths) if memory is not None else None
        return Streams(self.dropout(x), self.dropout(g), grown)


def _but_itself(unseen: Tensor) -> Tensor:
    """The content stream's mask: [.., T, T], in which no token is hidden from itself."""
    return unseen & ~torch.eye(unseen.shape[-1], dtype=torch.bool, device=unseen.device)


def build(config: XlnetConfig, heads: Mapping[str, HeadSpec]) -> Network:
    """The body with the named heads."""
    body = Xlnet(config)
    width, drop = config.d_model, config.summary_last_dropout

    def head(name: str, spec: HeadSpec) -> nn.Module:
        if spec.kind == "lm":
            words = body.word if config.tie_word_embeddings else nn.Embedding(config.vocab_size, width)
            return LanguageModel(words, bias=True)
        if spec.kind == "classifier" and config.reader and name in config.pair_heads:
            return ReadingPair(body.word, config.reader, len(spec.labels))
        if spec.kind in ("classifier", "choice"):
            columns = len(spec.labels) if spec.kind == "classifier" else 1
            return Classifier(Pooler(POOLS[config.summary_type], width), width, columns, dropout=drop)
        if spec.kind == "span" and spec.beams:
            return BeamSpan(width, spec.beams, config.layer_norm_eps)
        if spec.kind == "span" and config.reader:
            return ReadingSpan(body.word, config.reader)
        assert spec.kind in ("tokens", "span"), f"XLNet has no {spec.kind} head"
        return RowScores(width, len(spec.labels) if spec.kind == "tokens" else 2)

    return Network(body, {name: head(name, spec) for name, spec in heads.items()})


def heads_in(keys: Collection[str], raw: Mapping[str, Any]) -> dict[str, HeadSpec]:
    """The heads whose tensors a published file holds; its config says what the one on the summary is for.

    The two kinds of span head have no tensor in common. The LM head's matrix is the embedding: its bias tells.
    """
    heads: dict[str, HeadSpec] = {}
    if "lm_loss.bias" in keys:
        heads["lm"] = HeadSpec("lm")
    if "logits_proj.weight" in keys:
        if "XLNetForMultipleChoice" in (raw.get("architectures") or ()):
            heads["choice"] = HeadSpec("choice")
        else:
            heads["classifier"] = HeadSpec("classifier", labels_of(raw))
    if "classifier.weight" in keys:
        heads["tokens"] = HeadSpec("tokens", labels_of(raw))
    if "qa_outputs.weight" in keys:
        heads["span"] = HeadSpec("span")
    if "start_logits.dense.weight" in keys:
        beams = min(raw.get(name, XlnetConfig.start_n_top) for name in ("start_n_top", "end_n_top"))
        heads["span"] = HeadSpec("span", beams=beams)
    return heads


def read_tokenizer(files: Opened, config: XlnetConfig) -> Tokenizer:
    """SentencePiece from tokenizer.json, or built from spiece.model. The passage stands before its question."""
    return sentencepiece(
        files.folder,
        specials=SPECIALS,
        end="<eod>",  # the end of a document; the </s> that configs name was never learnt
        single="A:0 <sep>:0 <cls>:2!",
        pair="A:0 <sep>:0 B:1 <sep>:1 <cls>:2!",
        question="B:0 <sep>:0 A:1 <sep>:1 <cls>:2!",
    )


def new_state(config: XlnetConfig, texts: int, capacity: int, like: Tensor) -> Prefix | Onward:
    """Nothing read yet."""
    if config.continue_type == "uni":
        return Onward(KeyValues.empty(config.n_layer, texts, config.n_head, capacity, config.head_size, like))
    return Prefix(((),) * texts)


def left_to_right(model: Model, ids: Sequence[int], head: str = "lm") -> Tensor:
    """The logarithm of the probability of each token after those before it, the first one after the end of another
    text: [T] ids -> [T], in one pass.

    No token looks ahead: as generation token by token where `continue_type` is "uni". Published checkpoints generate
    with an eye on the whole text before, which gives other numbers. Raises Unsupported where no token ends a text.
    """
    if model.tokenizer.end is None:
        raise Unsupported(f"{model.name} has no token that ends a text, after which a text could begin.")
    body = model.network.body
    assert isinstance(body, Xlnet)
    batch = Batch.continuing([[model.tokenizer.end, *ids]], (0,), body.masked.device)  # [1 + T]
    rows = body.guesses(batch, ahead(1 + len(ids), body.masked.device), None)[1:]  # [T, D]
    scores = model.network.heads[head](rows, batch).float().log_softmax(-1)  # [T, V]
    return scores.gather(1, batch.ids[1:, None])[:, 0]


def ahead(length: int, device: torch.device) -> Tensor:
    """Who may not see whom in the order from left to right: [1, T, T]."""
    return torch.ones(1, length, length, dtype=torch.bool, device=device).triu()


FAMILY = Family(
    families.XLNET,
    model_types=("xlnet",),
    read_config=read_config,
    build=build,
    heads_in=heads_in,
    keys=keys,
    read_tokenizer=read_tokenizer,
    tokenizer_files=("tokenizer.json", "spiece.model", "tokenizer_config.json"),
    longest=lambda config: LONGEST,
    new_state=new_state,
)
