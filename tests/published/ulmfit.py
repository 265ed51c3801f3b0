"""Tiny random ULMFiT repositories in the layouts in which fastai leaves checkpoints.

Kinds: `learner lm` and `learner classifier` (Learner.export of fastai 2: one pickle of whole objects, as
TheBritishLibrary/bl-books-genre-fastai and Junlaii/wiki_LSTM_fintune_final have it); `learner 1 lm` and `learner 1
classifier` (fastai 1: a dictionary of objects in export.pkl); `lm`, `classifier`, `encoder` (fastai 2: a .pth of
tensors beside itos.pkl), `lm 1`, `classifier 1`, `encoder 1` (fastai 1), `lm 0.7`, `classifier 0.7`, `encoder 0.7`
(the paper's code: .h5 beside itos_wt103.pkl). Forms: `zip` and `old` of torch.save, `optimizer` (tensors and the state
of the optimizer in one dictionary), `json` (vocabulary in itos.json). `vocabulary` is a list of words, one a line.

Pickles hold classes of modules named as fastai's, which exist only while they are written.
"""

from __future__ import annotations

import json
import pickle
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity.ulmfit_numpy import Shape, weights

SPECIALS = {
    "2": ("xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj"),
    "1": ("xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxmaj", "xxup", "xxrep", "xxwrep"),
    "0.7": ("_unk_", "_pad_", "\n", "xbos", "xfld", "1", "t_up", "tk_rep", "tk_wrep"),
}
WORDS = ("the", "a", "cat", "sat", "on", "mat", "is", "it", ",", ".", "!", "n't", "do", "great", "film", "no", "4")
TOKENIZERS = {"2": "text.core", "1": "text.transform"}
SEED = 20180118


def words(shape: Shape) -> tuple[str, ...]:
    """A vocabulary of as many words as the embedding has rows; version 2 fills up with xxfake."""
    some = SPECIALS[shape.generation] + WORDS
    fill = ("xxfake",) * shape.words if shape.generation == "2" else tuple(f"word{i}" for i in range(shape.words))
    return (some + fill)[: shape.words]


def repository(
    folder: Path,
    kind: str,
    labels: Sequence[str] = ("neg", "pos"),
    form: str = "zip",
    vocabulary: Path | None = None,
    shape: Shape | None = None,
    name: str = "",
    seed: int = SEED,
) -> Path:
    """Write a repository of one kind; `name` is that of its weight file."""
    learner, what = kind.startswith("learner"), kind.removeprefix("learner ")
    parts = what.split() if learner else kind.split()
    generation = next((p for p in parts if p in SPECIALS), "2")
    what = next(p for p in parts if p not in SPECIALS)
    lines = vocabulary.read_text(encoding="utf-8").split("\n") if vocabulary else None
    shape = shape or Shape(len(lines) if lines else 30, labels=len(labels) or 3, generation=generation)
    listed = lines or list(words(shape))
    folder.mkdir(parents=True, exist_ok=True)
    with fastai() as classes:
        model = build(classes, shape, what, weights(shape, seed))
        if not learner:
            state = named(model, shape, what)
            whole = {"model": state, "opt": classes.make("fastcore.foundation", "L", items=[])}
            save(whole if form == "optimizer" else state, folder / (name or FILES[generation]), form)
            if form == "json":
                (folder / "itos.json").write_text(json.dumps(listed), encoding="utf-8")
            else:
                (folder / "itos_wt103.pkl").write_bytes(pickle.dumps(listed))
            return folder
        make = learner_1 if generation == "1" else learner_2
        whole = make(classes, model, listed, labels if what == "classifier" else ())
        save(whole, folder / (name or "export.pkl"), form)
    return folder


FILES = {"2": "model.pth", "1": "lstm_wt103.pth", "0.7": "fwd_wt103.h5"}


def save(what: Any, path: Path, form: str) -> None:
    """torch.save in protocol 2, as fastai calls it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old format wants to keep the source code of every module
        torch.save(what, path, _use_new_zipfile_serialization=form != "old", pickle_protocol=2)


class Classes:
    """Classes by fastai's names, made as they are asked for."""

    def __init__(self) -> None:
        self.modules: dict[str, ModuleType] = {}
        self.before: dict[str, ModuleType | None] = {}

    def get(self, module: str, name: str, base: type = object, **body: Any) -> Any:
        """The class, whose instances pickle by its name."""
        for end in range(1, module.count(".") + 2):
            path = ".".join(module.split(".")[:end])
            if path not in self.modules:
                self.before[path] = sys.modules.get(path)
                self.modules[path] = sys.modules[path] = ModuleType(path)
        home = self.modules[module]
        if not hasattr(home, name):
            setattr(home, name, type(name, (base,), {"__module__": module, **body}))
        return getattr(home, name)

    def make(self, module: str, name: str, **state: Any) -> Any:
        """An instance with these attributes."""
        made = self.get(module, name)()
        made.__dict__.update(state)
        return made


@contextmanager
def fastai() -> Iterator[Classes]:
    """Modules of fastai, fastcore and spaCy's English that exist only inside; real ones are put back."""
    classes = Classes()
    try:
        yield classes
    finally:
        for name, module in classes.before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


# The network, with fastai's tree of modules.


def build(classes: Classes, shape: Shape, what: str, w: dict[str, Any]) -> nn.Module:
    """A language model, a classifier, or (`encoder`) a language model of which only the encoder is saved."""
    first = shape.generation != "2"
    home = "fastai.text.models.awd_lstm" if first else "fastai.text.models.awdlstm"
    core = "fastai.text.learner" if first else "fastai.text.models.core"
    module = partial(classes.get, base=nn.Module)
    encoder = module(home, "AWD_LSTM")()
    encoder.__dict__ |= {"emb_sz": shape.width, "n_hid": shape.inner, "n_layers": shape.layers, "bs": 1, "n_dir": 1}
    if not first:
        encoder.__dict__["pad_token"] = 1  # version 1 does not keep it
    encoder.encoder = nn.Embedding(shape.words, shape.width, padding_idx=1, _weight=_tensor(w["encoder.weight"]))
    encoder.encoder_dp = module(home, "EmbeddingDropout")()
    encoder.encoder_dp.emb = encoder.encoder
    encoder.rnns = nn.ModuleList(_dropped(module(home, "WeightDropout")(), w, i, first) for i in range(shape.layers))
    encoder.input_dp = module(home, "RNNDropout")()
    encoder.hidden_dps = nn.ModuleList(module(home, "RNNDropout")() for _ in range(shape.layers))
    model = classes.get(home if first else core, "SequentialRNN", nn.Sequential)()
    if what == "classifier":
        wrapped = module(core, "MultiBatchEncoder" if first else "SentenceEncoder")()
        wrapped.__dict__ |= {"bptt": 70, "max_len": 1400} if first else {"bptt": 72, "max_len": 1440}
        wrapped.__dict__["pad_idx"] = 1
        wrapped.module = encoder
        head = module(core, "PoolingLinearClassifier")()
        head.layers = nn.Sequential(*_head(classes, shape, w))
        parts = [wrapped, head]
    else:
        decoder = module(home if first else core, "LinearDecoder")()
        decoder.decoder = nn.Linear(shape.width, shape.words, bias=shape.bias)
        decoder.decoder.weight = encoder.encoder.weight if shape.tied else nn.Parameter(_tensor(w["decoder.weight"]))
        if shape.bias:
            decoder.decoder.bias.data = _tensor(w["decoder.bias"])
        decoder.output_dp = module(home, "RNNDropout")()
        parts = [encoder, decoder]
    for index, part in enumerate(parts):
        model.add_module(str(index), part)
    return model.eval()


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(array.copy())


def _dropped(outer: Any, w: dict[str, Any], i: int, first: bool) -> nn.Module:
    """An LSTM whose recurrent weights lie outside of it; the copy that dropout thinned out is another tensor."""
    name = f"rnns.{i}."
    width, before = w[name + "weight_hh"].shape[1], w[name + "weight_ih"].shape[1]
    rnn = nn.LSTM(before, width, batch_first=True)
    for ours in ("weight_ih", "bias_ih", "bias_hh"):
        getattr(rnn, f"{ours}_l0").data = _tensor(w[name + ours])
    raw = _tensor(w[name + "weight_hh"])
    del rnn._parameters["weight_hh_l0"]
    outer.weight_hh_l0_raw = nn.Parameter(raw)
    thinned = raw * (torch.arange(raw.numel()).view(raw.shape) % 2)
    if first:
        rnn._parameters["weight_hh_l0"] = thinned  # version 1 writes it; the first releases of version 2 do, too
    else:
        rnn.__dict__["weight_hh_l0"] = thinned
    rnn._flat_weights = []
    outer.module = rnn
    return outer


def _head(classes: Classes, shape: Shape, w: dict[str, Any]) -> list[nn.Module]:
    blocks = []
    for i in range(len(shape.head) + 1):
        gamma, weight = w[f"head.{i}.gamma"], w[f"head.{i}.weight"]
        norm, linear = nn.BatchNorm1d(len(gamma)), nn.Linear(*weight.shape[::-1], bias=f"head.{i}.bias" in w)
        norm.weight.data, norm.bias.data = _tensor(gamma), _tensor(w[f"head.{i}.beta"])
        norm.running_mean, norm.running_var = _tensor(w[f"head.{i}.mean"]), _tensor(w[f"head.{i}.var"])
        linear.weight.data = _tensor(weight)
        if linear.bias is not None:
            linear.bias.data = _tensor(w[f"head.{i}.bias"])
        dropout = [nn.Dropout(0.1)] if i != 1 else []  # a layer without dropout counts one less
        active = [nn.ReLU(inplace=True)] if i < len(shape.head) else []
        blocks.append([norm, *dropout, linear, *active])
    if shape.generation != "2":
        return [part for block in blocks for part in block]
    return [classes.get("fastai.layers", "LinBnDrop", nn.Sequential)(*block) for block in blocks]


def named(model: nn.Module, shape: Shape, what: str) -> dict[str, Tensor]:
    """The state dict by the names of a generation."""
    state = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
    if shape.generation == "0.7":
        linear = iter(range(9))
        order = {}
        for key in state:  # every norm begins a block
            if key.startswith("1.layers.") and key.endswith("running_mean"):
                order[key.split(".")[2]] = next(linear)
        renamed = {}
        for key, tensor in state.items():
            key = f"0.{key.removeprefix('0.module.')}" if key.startswith("0.module.") else key
            key = key.replace("encoder_dp.emb", "encoder_with_dropout.embed").replace(
                ".weight_hh_l0_raw", ".module.weight_hh_l0_raw"
            )
            if key.startswith("1.layers."):
                place, leaf = key.split(".")[2:]
                block = max(v for k, v in order.items() if int(k) <= int(place))
                key = f"1.layers.{block}.{'bn' if place in order else 'lin'}.{leaf}"
            if not key.endswith((".module.weight_hh_l0", "num_batches_tracked")):  # neither existed in 2018
                renamed[key] = tensor
        state = renamed
    return {k.removeprefix("0."): t for k, t in state.items() if k.startswith("0.")} if what == "encoder" else state


# What is around the network in a Learner.


def learner_2(classes: Classes, model: nn.Module, listed: list[str], labels: Sequence[Any], **more: Any) -> Any:
    """A Learner of fastai 2 as export leaves it: empty data, no optimizer. `more` replaces parts of it."""
    core, make = "fastai.text.core", classes.make
    rules = more.get("rules") or (
        "fix_html", "replace_rep", "replace_wrep", "spec_add_spaces", "rm_useless_spaces", "replace_all_caps",
        "replace_maj", "lowercase",
    )  # fmt: skip
    english = make(f"spacy.lang.{more.get('language', 'en.English').rpartition('.')[0]}",
                   more.get("language", "en.English").rpartition(".")[2])  # fmt: skip
    cutter = make(core, more.get("cutter", "SpacyTokenizer"), special_toks=list(SPECIALS["2"]), pipe=_Pipe(english))
    tokenizer = make(core, "Tokenizer", tok=cutter, mode="df", sep=" ", counter=None,
                     rules=[classes.get(core, rule) for rule in rules])  # fmt: skip
    numbers = make("fastai.text.data", "Numericalize", vocab=listed, min_freq=3,
                   o2i={word: i for i, word in enumerate(listed)})  # fmt: skip
    extra = [classes.get("fastai.text.data", name) for name in more.get("transforms", ())]
    lists = [_transformed(classes, [tokenizer, numbers, *extra])]
    if labels:
        items = make("fastcore.foundation", "L", items=list(labels))
        mapped = make("fastai.data.transforms", "CategoryMap", items=items, sort=True)
        kind = more.get("categories", "Categorize")
        lists.append(_transformed(classes, [make("fastai.data.transforms", kind, vocab=mapped, add_na=False)]))
    data = make("fastai.data.core", "Datasets", tls=make("fastcore.foundation", "L", items=lists))
    loader = make("fastai.text.data", "SortedDL", dataset=data, bs=64)
    dls = make("fastai.data.core", "DataLoaders", loaders=[loader, loader])
    name = "TextLearner" if labels else "LMLearner"
    return make("fastai.text.learner", name, dls=dls, model=model, path=Path("."), moms=(0.8, 0.7, 0.8), opt=None)


def learner_1(classes: Classes, model: nn.Module, listed: list[str], labels: Sequence[Any]) -> dict[str, Any]:
    """The dictionary that fastai 1 exports."""
    home, make = "fastai.text.transform", classes.make
    before = ("fix_html", "replace_rep", "replace_wrep", "spec_add_spaces", "rm_useless_spaces")
    tokenizer = make(
        home, "Tokenizer", tok_func=classes.get(home, "SpacyTokenizer"), lang="en", special_cases=list(SPECIALS["1"]),
        pre_rules=[classes.get(home, rule) for rule in before], n_cpus=1,
        post_rules=[classes.get(home, rule) for rule in ("replace_all_caps", "deal_caps")],
    )  # fmt: skip
    cut = make("fastai.text.data", "TokenizeProcessor", tokenizer=tokenizer, include_bos=True, include_eos=False)
    numbers = make("fastai.text.data", "NumericalizeProcessor", vocab=make(home, "Vocab", itos=listed), min_freq=3)
    data: dict[str, Any] = {"x_proc": [cut, numbers], "tfms": [], "y_proc": []}
    if labels:
        data["y_proc"] = [make("fastai.data_block", "CategoryProcessor", classes=list(labels))]
    return {"opt_func": None, "model": model, "data": data, "cls": classes.get("fastai.text.learner", "RNNLearner")}


def _transformed(classes: Classes, steps: list[Any]) -> Any:
    inside = classes.make("fastcore.foundation", "L", items=steps)
    pipeline = classes.make("fasttransform.transform", "Pipeline", fs=inside, split_idx=None)
    return classes.make("fastai.data.core", "TfmdLists", tfms=pipeline, items=[])


class _Pipe:
    """Pickles as a method of an object: a call of getattr, as protocol 2 has it."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.owner, "pipe")
