"""The dropouts that make an LSTM an AWD-LSTM (Merity et al. 2017, section 4), and its losses. Training only: what is
trained is the zoo's body (zoo/models/ulmfit.py), which knows none of this.

C columns of a stream, or texts of a batch; T tokens of each, D width, N = C * T rows, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from zoo.contracts import Batch
from zoo.family import Network
from zoo.heads import LanguageModel
from zoo.models.ulmfit import AwdLstm
from zoo.models.ulmfit_heads import padded, real

States = Sequence[tuple[Tensor, Tensor]]  # output and cell of each layer, [1, C, width of the layer]
SOFTMAX_ROWS = 512  # scored at once by the full softmax: 60 MB with 30,000 words


@dataclass(frozen=True)
class Dropouts:
    """The share of zeros in each place; fastai's names: embed_p, input_p, hidden_p, weight_p, output_p."""

    words: float
    inputs: float
    hidden: float
    weights: float
    output: float

    def times(self, factor: float) -> Dropouts:
        """All of them more or less, as fastai's drop_mult."""
        shares = (self.words, self.inputs, self.hidden, self.weights, self.output)
        return Dropouts(*(factor * share for share in shares))


FOR_LM = Dropouts(words=0.02, inputs=0.25, hidden=0.15, weights=0.2, output=0.1)  # fastai's awd_lstm_lm_config
FOR_CLASSIFIER = Dropouts(words=0.05, inputs=0.4, hidden=0.3, weights=0.5, output=0.4)  # its awd_lstm_clas_config
NONE = Dropouts(0.0, 0.0, 0.0, 0.0, 0.0)


def body_of(network: Network) -> AwdLstm:
    """Its body, as what it is."""
    assert isinstance(network.body, AwdLstm)
    return network.body


def decoder_of(network: Network) -> LanguageModel:
    """Its language model head."""
    decoder = network.heads["lm"]
    assert isinstance(decoder, LanguageModel)
    return decoder


def recurrent(body: AwdLstm) -> list[nn.LSTM]:
    """The layers, lowest first."""
    return [rnn for rnn in body.rnns if isinstance(rnn, nn.LSTM)]


def locked(x: Tensor, share: float) -> Tensor:
    """Dropout with one mask for all tokens of a text: [C, T, D] -> [C, T, D]."""
    if not share:
        return x
    return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), share)


def embedded(word: nn.Embedding, ids: Tensor, share: float) -> Tensor:
    """Embeddings, some words of the vocabulary left out wherever they stand: [C, T] -> [C, T, D]."""
    if not share:
        return word(ids)
    kept = F.dropout(torch.ones(word.num_embeddings, device=ids.device), share)  # [V]
    return word(ids) * kept[ids][..., None]


def dropped(rnn: nn.LSTM, share: float) -> dict[str, Tensor]:
    """The recurrent weights with a share of them left out: one mask for all steps of a forward pass (DropConnect)."""
    return {"weight_hh_l0": F.dropout(rnn.get_parameter("weight_hh_l0"), share)} if share else {}


def read(
    body: AwdLstm, ids: Tensor, states: States | None, share: Dropouts
) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """ids [C, T] -> the last layer's rows before and after dropout, each [C, T, D], and the states after them.

    torch's own LSTM runs, with other weights for this one call, so that its fused kernels are used.
    """
    x = locked(embedded(body.word, ids, share.words), share.inputs)  # [C, T, D]
    after: list[tuple[Tensor, Tensor]] = []
    raw = x
    for index, rnn in enumerate(recurrent(body)):
        given = (x,) if states is None else (x, states[index])
        raw, state = functional_call(rnn, dropped(rnn, share.weights), given)  # [C, T, width of the layer]
        after.append(state)
        x = locked(raw, share.output if index + 1 == len(body.rnns) else share.hidden)
    return raw, x, after


class Carried(nn.Module):
    """A network that reads a stream in columns, and the state that it carries from one piece to the next.

    The state lies in buffers, and so in every snapshot of a run; the network itself stays free of it.
    """

    def __init__(self, network: Network, columns: int) -> None:
        super().__init__()
        self.network = network
        self.layers = len(recurrent(body_of(network)))
        for index, rnn in enumerate(recurrent(body_of(network))):
            for kind in ("output", "cell"):
                self.register_buffer(f"{kind}{index}", torch.zeros(1, columns, rnn.hidden_size))

    def states(self) -> list[tuple[Tensor, Tensor]]:
        """What is carried on: of each layer output and cell, [1, C, width of the layer]."""
        return [(self.get_buffer(f"output{i}"), self.get_buffer(f"cell{i}")) for i in range(self.layers)]

    def forget(self) -> None:
        """Begin with zeros again."""
        for output, cell in self.states():
            output.zero_()
            cell.zero_()

    def read(self, ids: Tensor, share: Dropouts) -> tuple[Tensor, Tensor]:
        """Read on: [C, T] -> rows before and after dropout, [C, T, D] each."""
        before = [(output.clone(), cell.clone()) for output, cell in self.states()]  # the backward pass needs them
        raw, rows, after = read(body_of(self.network), ids, before, share)
        for kept, new in zip(self.states(), after, strict=True):
            kept[0].copy_(new[0].detach())
            kept[1].copy_(new[1].detach())
        return raw, rows


class Trained(nn.Module):
    """A network that reads with dropouts while it is trained, and as the zoo does while it is evaluated."""

    def __init__(self, network: Network, share: Dropouts) -> None:
        super().__init__()
        self.network, self.share = network, share

    def forward(self, batch: Batch, head: str) -> Tensor:
        """Scores as of Network.forward."""
        if not self.training:
            return self.network(batch, head)
        rows = read(body_of(self.network), padded(batch.ids, batch), None, self.share)[1][real(batch)]  # [N, D]
        return self.network.heads[head](rows, batch)


@dataclass(frozen=True)
class Softmax:
    """How many of the words every next word is scored against: the `common` first ones, and `drawn` of the others."""

    common: int
    drawn: int

    def loss(self, decoder: LanguageModel, rows: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of the next words: rows [N, D], targets [N].

        Words are numbered by how common they are. The sum over all words in the softmax is exact for the common ones
        and the right word, and is estimated for the rest by words drawn anew for each batch, each of which stands for
        many (importance sampling, Bengio & Senecal 2003). The cost is a tenth of the full softmax's.
        """
        weight, bias = decoder.embedding.weight, decoder.bias
        assert bias is not None
        words = len(weight)
        rare = words - self.common
        if self.drawn >= rare:
            return F.cross_entropy(F.linear(rows, weight, bias), targets)
        chance = torch.randperm(rare, device=rows.device)[: self.drawn] + self.common
        chosen = torch.cat([torch.arange(self.common, device=rows.device), chance])  # [common + drawn]
        stands_for = torch.zeros(len(chosen), device=rows.device)
        stands_for[self.common :] = math.log(rare / self.drawn)
        logits = F.linear(rows, weight[chosen], bias[chosen] + stands_for)  # [N, common + drawn]
        place = torch.full((words,), -1, device=rows.device)
        place[chance] = torch.arange(self.common, len(chosen), device=rows.device)
        hits = (place[targets] >= 0).nonzero()[:, 0]  # rows whose rare right word was drawn: it is counted once, below
        logits[hits, place[targets[hits]]] = -torch.inf
        right = (rows * weight[targets]).sum(-1) + bias[targets]  # [N]
        others = logits.logsumexp(-1)  # [N]
        total = torch.where(targets < self.common, others, torch.logaddexp(others, right))
        return (total - right).mean()


def full_loss(decoder: LanguageModel, rows: Tensor, targets: Tensor) -> float:
    """Mean loss by the full softmax, a few rows at a time; to evaluate."""
    total = 0.0
    for some, right in zip(rows.split(SOFTMAX_ROWS), targets.split(SOFTMAX_ROWS), strict=True):
        total += float(F.cross_entropy(F.linear(some, decoder.embedding.weight, decoder.bias), right, reduction="sum"))
    return total / len(targets)


def regularization(raw: Tensor, rows: Tensor, small: float, slow: float) -> Tensor:
    """Small outputs after dropout (AR) and slow changes before it (TAR), section 4.5: [C, T, D] both."""
    return small * rows.square().mean() + slow * (raw[:, 1:] - raw[:, :-1]).square().mean()


class RowAdam(torch.optim.Optimizer):
    """Adam for an embedding: a row moves, and its means decay, only in steps in which it gets a gradient.

    Plain Adam goes on for ten steps by a gradient that came once, and divides it by a root that has decayed since the
    time before: rare words, most of all those that the softmax draws, would move ten times too far.
    """

    def __init__(self, parameters: Iterable[Any], lr: float, betas: tuple[float, float], eps: float = 1e-8) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Go one step by the gradients."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._move(table, table.grad, group)

    def _move(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Move the touched rows of a table [V, D]."""
        state, (fast, slow) = self.state[table], group["betas"]
        if not state:
            state |= {"mean": torch.zeros_like(table), "square": torch.zeros_like(table)}
            state["times"] = torch.zeros(len(table), 1, device=table.device)
        rows = gradient.any(1).nonzero()[:, 0]
        some = gradient[rows]
        mean = state["mean"][rows].lerp_(some, 1 - fast)
        square = state["square"][rows].lerp_(some.square(), 1 - slow)
        times = state["times"][rows] + 1
        state["mean"][rows], state["square"][rows], state["times"][rows] = mean, square, times
        root = (square / (1 - slow**times)).sqrt_().add_(group["eps"])
        table.index_add_(0, rows, mean / (1 - fast**times) / root, alpha=-group["lr"])
