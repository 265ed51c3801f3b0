"""`python -m zoo bench recurrent`: the LSTMs of ELMo and AWD-LSTM beside torch's own, XLNet beside transformers.

Sizes are those of the originals, weights are random.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from zoo.bench import peers, race
from zoo.bench.ours import stand_in
from zoo.contracts import Batch, Encoding
from zoo.engine import precision
from zoo.engine.precision import kind_of
from zoo.layers.packed import pack
from zoo.models.elmo import Elmo, ElmoConfig
from zoo.models.ulmfit import NOT_IN_FASTAI, AwdLstm, UlmfitConfig

ELMO = {"dim": 4096, "projection_dim": 512, "n_layers": 2}
AWD = {"emb_sz": 400, "n_hid": 1152, "n_layers": 3}
Timed = Callable[[dict[str, Callable[[], object]]], dict[str, list[float]]]
TINY = {"dim": 32, "projection_dim": 8, "n_layers": 2}, {"emb_sz": 8, "n_hid": 16, "n_layers": 3}


class _Given(nn.Module):
    """Stands for the part that makes vectors of words, which has no counterpart in the peer."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, ids: Tensor) -> Tensor:
        return self.rows


def measure(rounds: int = 5, tiny: bool = False) -> tuple[list[race.Result], list[str]]:
    """One result for each kind of network, and what is not installed."""
    elmo, awd = TINY if tiny else (ELMO, AWD)
    timed: Timed = partial(race.race, rounds=rounds, least=0 if tiny else race.LEAST)
    results = [_elmo(elmo, 4 if tiny else 32, timed), _awd(awd, 8 if tiny else 512, timed)]
    found, missing = _xlnet(8 if tiny else 384, timed, tiny)
    return results + found, missing


def _race(title: str, runners: dict[str, Callable[[], object]], timed: Timed) -> race.Result:
    with torch.inference_mode():
        return race.Result(title, next(iter(runners)), timed(runners), {})


def _drawn(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0, 0.02)
    return module.eval()


def _batch(tokens: int) -> Batch:
    return Batch.of([Encoding((5,) * tokens, (0,) * tokens, ((0, 0),) * tokens, (0,) * tokens)])


def _elmo(sizes: dict[str, int], tokens: int, timed: Timed) -> race.Result:
    cells, width, layers = sizes["dim"], sizes["projection_dim"], sizes["n_layers"]
    x = torch.randn(tokens, width)
    theirs = _drawn(nn.LSTM(width, cells, layers, bidirectional=True, proj_size=width, batch_first=True))
    batch = Batch.of([Encoding(((5, 6),) * tokens, (0,) * tokens, ((0, 0),) * tokens, (0,) * tokens)])
    runners: dict[str, Callable[[], object]] = {"torch nn.LSTM": lambda: theirs(x[None])}
    for kind in precision.supported():
        config = ElmoConfig(262, 50, 4, ((1, width),), "relu", cells, width, use_skip_connections=True, n_layers=layers)
        ours = _drawn(Elmo(config))
        ours.words = _Given(x)
        pack(ours, kind_of(kind))
        runners[f"ours {kind}"] = partial(ours, batch)
    return _race(f"biLSTM of ELMo ({cells} cells, projected to {width}), {tokens} tokens", runners, timed)


def _awd(sizes: dict[str, int], tokens: int, timed: Timed) -> race.Result:
    width, inner, layers = sizes["emb_sz"], sizes["n_hid"], sizes["n_layers"]
    widths = [width] + [inner] * (layers - 1) + [width]
    theirs = [_drawn(nn.LSTM(a, b, batch_first=True)) for a, b in pairwise(widths)]
    x, batch = torch.randn(1, tokens, width), _batch(tokens)

    def through() -> Tensor:
        y = x
        for layer in theirs:
            y = layer(y)[0]
        return y

    runners: dict[str, Callable[[], object]] = {"torch nn.LSTM": through}
    for kind in precision.supported():
        ours = _drawn(AwdLstm(_awd_config(sizes)))
        pack(ours, kind_of(kind))
        runners[f"ours {kind}"] = partial(ours, batch)
    return _race(f"AWD-LSTM ({width}, {inner}, {inner}, {width}), {tokens} tokens", runners, timed)


def _awd_config(sizes: dict[str, int]) -> UlmfitConfig:
    said = {
        "vocab_size": 20, "bptt": 70, "max_len": None, "lin_ftrs": (), "tie_weights": True, "out_bias": True,
        "lin_bias": True, "pad_token": 1, **NOT_IN_FASTAI, **sizes,
    }  # fmt: skip
    wanted = UlmfitConfig.__dataclass_fields__
    return UlmfitConfig(**{name: value for name, value in said.items() if name in wanted})


def _xlnet(tokens: int, timed: Timed, tiny: bool) -> tuple[list[race.Result], list[str]]:
    if not peers.installed("transformers"):
        return [], ["transformers"]
    with stand_in("xlnet-base", tiny) as (folder, ours):
        theirs = peers.opened("XLNetModel", folder)
        ids, batch = torch.full((1, tokens), 5), _batch(tokens)
        runners: dict[str, Callable[[], object]] = {"transformers": lambda: theirs(ids)[0]}
        runners |= {name: partial(model.network.body, batch) for name, model in ours.items()}
        return [_race(f"XLNet-base, {tokens} tokens", runners, timed)], []
