"""Checkpoints as fastai leaves them: a whole `Learner` in one pickle, or a dictionary of tensors beside its vocabulary.

Neither has a config.json: sizes are those of the tensors. Three generations of fastai are told apart by their names:
that of the paper (0.7, 2018), version 1 (2018 to 2020) and version 2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.errors import BadCheckpoint
from zoo.weights.guards import check_tensors
from zoo.weights.layout import Layout, Opened
from zoo.weights.stones import Stone, kind_of, read_objects, walk

VOCABULARIES = ("itos*.pkl", "itos*.json", "*itos.pkl", "*vocab.pkl")
WEIGHTS = ("*.pth", "*.h5")  # those of 2018 end in .h5, but are written by torch like the others
DEEPEST, MOST = 24, 10_000  # modules within modules, and modules in all: what is more is no language model

RULES = (  # of version 2, in their order
    "fix_html", "replace_rep", "replace_wrep", "spec_add_spaces", "rm_useless_spaces", "replace_all_caps",
    "replace_maj", "lowercase",
)  # fmt: skip
RULES_1 = ("fix_html", "replace_rep", "replace_wrep", "spec_add_spaces", "rm_useless_spaces")  # before words are cut
RULES_1_AFTER = ("replace_all_caps", "deal_caps")
ENGLISH = "spacy.lang.en.English"


def stem_of(names: Collection[str]) -> str:
    """What stands before the names of the encoder: classifiers wrap it once more, files of the encoder alone do not."""
    for stem in ("0.module.", "0."):
        if f"{stem}encoder.weight" in names:
            return stem
    return ""


def layers_of(names: Collection[str]) -> list[tuple[str, str]]:
    """The (norm, linear) pairs of a classifier's head, in order.

    Version 2 counts `1.layers.0.0`, `1.layers.0.2`, or `1.layers.0.1` where there was no dropout; version 1 counts on
    through all layers; 2018 says `1.layers.0.bn` and `1.layers.0.lin`. A norm is what has a running mean.
    """
    paths = {name.rpartition(".")[0] for name in names if name.startswith("1.layers.")}
    ordered = sorted(paths, key=lambda path: [(int(p), "") if p.isdecimal() else (0, p) for p in path.split(".")])
    norms = [path for path in ordered if f"{path}.running_mean" in names]
    linears = [path for path in ordered if path not in norms]
    return list(zip(norms, linears, strict=len(norms) == len(linears)))


def _one(names: Sequence[str], what: str) -> str:
    if len(names) != 1:
        raise BadCheckpoint(
            f"There are {len(names)} files that could be {what} ({', '.join(names)}). Copy the one you mean, with its "
            "vocabulary, to a folder of its own and load that."
        )
    return names[0]


def _top(names: Collection[str], patterns: Sequence[str]) -> list[str]:
    return sorted(n for n in names if "/" not in n and any(fnmatchcase(n, pattern) for pattern in patterns))


def _learners(names: Collection[str]) -> list[str]:
    return [n for n in _top(names, ("*.pkl",)) if n not in _top(names, VOCABULARIES)]


def _state_files(names: Collection[str]) -> tuple[str, str]:
    return _one(_top(names, WEIGHTS), "the weights"), _one(_top(names, VOCABULARIES), "the vocabulary")


def _claims_state(names: Collection[str], config: Mapping[str, Any]) -> bool:
    return bool(_top(names, WEIGHTS) and _top(names, VOCABULARIES))


def _claims_learner(names: Collection[str], config: Mapping[str, Any]) -> bool:
    return bool(_learners(names)) and not _claims_state(names, config)


def read_state(folder: Path) -> Opened:
    """Weights and vocabulary in two files. Raises BadCheckpoint."""
    weights, vocabulary = (folder / name for name in _state_files([p.name for p in folder.iterdir() if p.is_file()]))
    state = read_objects(weights)
    if isinstance(state, dict) and isinstance(state.get("model"), dict):  # saved with the optimizer beside it
        state = state["model"]
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(t, Tensor) for k, t in state.items()):
        raise BadCheckpoint(f"{weights} holds no dictionary of tensors by name.")
    check_tensors(state, weights)
    words = _words(_read_json(vocabulary) if vocabulary.suffix == ".json" else read_objects(vocabulary))
    if words is None:
        raise BadCheckpoint(f"{vocabulary} holds no list of words.")
    config = _sizes(state, weights) | {"text_rules": _rules_by(words, vocabulary)}
    return Opened(folder, config, state, words)


def read_learner(folder: Path) -> Opened:
    """A Learner in one pickle, by `Learner.export` of version 1 or 2. Raises BadCheckpoint."""
    path = folder / _one(_learners([p.name for p in folder.iterdir() if p.is_file()]), "the Learner")
    learner = read_objects(path)
    parts_of = learner if isinstance(learner, (Stone, dict)) else Stone()  # version 1 wrote a dictionary
    model, data = parts_of.get("model"), parts_of.get("dls") or parts_of.get("data")
    if not isinstance(model, Stone) or data is None:
        raise BadCheckpoint(f"{path} holds no fastai Learner: it has no model with its data.")
    tensors = dict(_tensors(model, path))
    check_tensors(tensors, path)
    parts = [part for part in walk(data) if kind_of(part)]
    words = _vocabulary(parts, path)
    config = _sizes(tensors, path) | _pooling(model) | {"text_rules": _check_text(parts, words, path)}
    _check_scores(model, parts, path)
    labels = _labels(parts)
    if "num_labels" in config and labels is not None:
        if len(labels) != config["num_labels"]:
            raise BadCheckpoint(f"{path} has {len(labels)} categories, and scores for {config['num_labels']}.")
        config["id2label"] = {str(index): label for index, label in enumerate(labels)}
    return Opened(folder, config, tensors, words)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{path} is not readable as JSON ({error}). Download or copy it again.") from None


def _sizes(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The config, told from the shapes. Raises BadCheckpoint for networks that are no AWD-LSTM read here."""
    stem = stem_of(tensors)
    if any(re.search(r"rnns\.\d+\.(layers\.\d+\.)?linear\.", name) for name in tensors):
        raise BadCheckpoint(f"{path} is a QRNN. Of fastai's language models this zoo reads the AWD-LSTM only.")
    if any(name.endswith(("_reverse", "_reverse_raw")) for name in tensors):
        raise BadCheckpoint(f"{path} reads in both directions at once. This zoo reads AWD-LSTMs that read forward.")
    inputs = [
        t for name, t in tensors.items() if re.fullmatch(re.escape(stem) + r"rnns\.\d+\.(module\.)?weight_ih_l0", name)
    ]
    word = tensors.get(f"{stem}encoder.weight")
    if word is None or word.dim() != 2 or not inputs or any(t.dim() != 2 for t in inputs):
        raise BadCheckpoint(f"{path} holds no AWD-LSTM: no encoder.weight with LSTM layers (rnns) behind it.")
    vocabulary, width = word.shape
    layers = layers_of(tensors)
    decoder, head = tensors.get("1.decoder.weight"), [tensors.get(f"{linear}.weight") for _, linear in layers]
    if any(t is None or t.dim() != 2 for t in head):
        raise BadCheckpoint(f"{path} has a head that is no list of norms and linear layers.")
    outputs = [len(t) for t in head if t is not None]
    if outputs and outputs[-1] < 2:
        raise BadCheckpoint(f"{path} gives one number a text, and no categories to choose from.")
    older = bool(layers) and (layers[0][0].endswith("bn") or layers[0][0].count(".") == 2)
    return {
        "vocab_size": vocabulary,
        "emb_sz": width,
        "n_hid": inputs[0].shape[0] // 4 if len(inputs) > 1 else width,
        "n_layers": len(inputs),
        "pad_token": 1,
        "tie_weights": decoder is None or (decoder.shape == word.shape and bool(decoder.eq(word).all())),
        "out_bias": "1.decoder.bias" in tensors,
        "lin_ftrs": outputs[:-1],
        "lin_bias": bool(layers) and f"{layers[0][1]}.bias" in tensors,
        "bptt": 70 if older else 72,
        "max_len": 1399 if older else 1440,  # the older ones keep what begins less than 1400 before the end
        "no_config": True,
    } | ({"num_labels": outputs[-1]} if outputs else {})


def _tensors(model: Stone, path: Path) -> Iterator[tuple[str, Tensor]]:
    """The names and tensors of a module, as its `state_dict` would give them."""
    stack: list[tuple[str, Any, int]] = [("", model, 0)]
    for _ in range(MOST):
        if not stack:
            return
        name, module, depth = stack.pop()
        own = [module.get(kind) for kind in ("_parameters", "_buffers")] if isinstance(module, Stone) else []
        below = module.get("_modules") if isinstance(module, Stone) else None
        if depth > DEEPEST or not isinstance(below, dict) or not all(isinstance(o, dict) for o in own):
            break
        for leaf, tensor in (pair for part in own for pair in part.items()):
            if isinstance(tensor, Tensor):
                yield f"{name}{leaf}", tensor
            elif tensor is not None:
                raise BadCheckpoint(f"{path}: {name}{leaf} is no plain tensor.")
        stack += [(f"{name}{leaf}.", child, depth + 1) for leaf, child in reversed(below.items()) if child is not None]
    raise BadCheckpoint(f"{path}: its model is no tree of modules.")


def _pooling(model: Stone) -> dict[str, Any]:
    """How a classifier goes through a long text, and which token is padding; nothing of what the model does not say."""
    found: dict[str, Any] = {}
    for part in walk(model.get("_modules")):
        if isinstance(part, Stone):
            state = part.state if isinstance(part.state, dict) else {}
            if {"bptt", "max_len", "pad_idx"} <= state.keys():
                strictly = part.kind == "fastai.text.learner.MultiBatchEncoder"
                longest = state["max_len"]
                found |= {"bptt": state["bptt"], "max_len": longest - 1 if strictly else longest}
                found["pad_token"] = state["pad_idx"]
            elif "pad_token" in state:
                found.setdefault("pad_token", state["pad_token"])
    return found


def _words(value: Any) -> tuple[str, ...] | None:
    """A list of strings; fastai's own list class, too. A pair of lists begins with that of the text."""
    items = _items(value)
    if items and not isinstance(items[0], str):
        items = _items(items[0])
    return tuple(items) if items and all(isinstance(word, str) for word in items) else None


def _items(value: Any) -> list[Any] | None:
    if isinstance(value, Stone):
        inside = value.get("items")
        return _items(inside) if inside is not None else (value.items or None)
    return list(value) if isinstance(value, (list, tuple)) else None


def _vocabulary(parts: Sequence[Any], path: Path) -> tuple[str, ...]:
    found = []
    for part in parts:
        if isinstance(part, Stone) and _is(part, "text.data.Numericalize"):
            found.append(_words(part.get("vocab")))
        elif isinstance(part, Stone) and _is(part, "text.transform.Vocab"):
            found.append(_words(part.get("itos")))
    words = found[0] if found else None
    if words is None or any(other != words for other in found):
        raise BadCheckpoint(f"{path} holds {len(set(found))} vocabularies of its texts; it must hold one.")
    return words


def _labels(parts: Sequence[Any]) -> list[str] | None:
    """The names of the categories; None when they are no plain values (numbers of numpy, for example)."""
    for part in parts:
        if isinstance(part, Stone) and _is(part, "data.transforms.Categorize", "data_block.CategoryProcessor"):
            names = _items(part.get("vocab") or part.get("classes"))
            if names and all(isinstance(name, (str, int, float, bool)) for name in names):
                return [str(name) for name in names]
    return None


def _is(part: Any, *names: str) -> bool:
    """Whether it is of one of these classes of fastai; version 2 was called fastai2 until it was ready."""
    return kind_of(part) in {f"{package}.{name}" for package in ("fastai", "fastai2") for name in names}


def _check_text(parts: Sequence[Any], words: Sequence[str], path: Path) -> str:
    """Whose rules prepare its texts. Raises BadCheckpoint for rules, languages and directions not read here."""
    if any(_is(part, "text.data.reverse_text") for part in parts):
        raise BadCheckpoint(f"{path} reads its texts from their end. This zoo reads AWD-LSTMs that read forward.")
    for part in parts:
        if isinstance(part, Stone) and _is(part, "text.core.Tokenizer", "text.transform.Tokenizer"):
            first = part.kind.endswith("transform.Tokenizer")
            cutter = part.get("tok_func" if first else "tok")
            rules = _names(part.get("pre_rules" if first else "rules"))
            after = _names(part.get("post_rules")) if first else ()
            languages = {part.get("lang")} if first else {k for k in map(kind_of, walk(cutter)) if _language(k)}
            if not _is(cutter, "text.core.SpacyTokenizer", "text.core.WordTokenizer", "text.transform.SpacyTokenizer"):
                raise BadCheckpoint(f"{path} cuts texts by {kind_of(cutter) or 'rules of its own'}, not into words.")
            if not languages <= {ENGLISH, "en"}:
                raise BadCheckpoint(f"{path} cuts texts by spaCy's rules for another language than English.")
            if (rules, after) not in ((RULES, ()), (RULES_1, RULES_1_AFTER)):
                raise BadCheckpoint(f"{path} prepares texts in a way of its own: {', '.join(rules + after)}.")
            return "1" if first else "2"
    return _rules_by(words, path)


def _language(kind: str) -> bool:
    return bool(re.fullmatch(r"spacy\.lang\.\w+\.[A-Z]\w+", kind))


def _names(rules: Any) -> tuple[str, ...]:
    return tuple((kind_of(rule) or repr(rule)).rpartition(".")[2] for rule in _items(rules) or ())


def _rules_by(words: Sequence[str], path: Path) -> str:
    """Which generation's rules a vocabulary is for, told by its markers; version 1 has them in another order."""
    if "_unk_" in words[:8]:
        return "0.7"
    if "xxunk" not in words[:16] or not {"xxbos", "xxmaj", "xxrep"} <= set(words):
        raise BadCheckpoint(f"{path} has no vocabulary of fastai's words: xxunk, xxbos, xxmaj or xxrep is not in it.")
    if 4 * sum(len(word) > 1 and word.startswith("▁") for word in words) > len(words):
        raise BadCheckpoint(f"{path} has a vocabulary of SentencePiece. This zoo reads fastai's vocabularies of words.")
    return "1" if words.index("xxmaj") < words.index("xxrep") else "2"


def _check_scores(model: Stone, parts: Sequence[Any], path: Path) -> None:
    """Refuse what answers with something other than one of several categories."""
    if any(_is(part, "layers.SigmoidRange") for part in walk(model.get("_modules"))):
        raise BadCheckpoint(f"{path} gives a number within a range, and no categories to choose from.")
    if any(_is(part, "data.transforms.MultiCategorize", "data_block.MultiCategoryProcessor") for part in parts):
        raise BadCheckpoint(f"{path} gives any number of labels to a text. This zoo reads classifiers that give one.")


def _learner_files(names: Collection[str]) -> tuple[str]:
    return (_one(_learners(names), "the Learner"),)


LEARNER = Layout("a fastai Learner", _claims_learner, _learner_files, read_learner)
STATE = Layout("fastai's weights beside a vocabulary", _claims_state, _state_files, read_state)
LAYOUTS = (STATE, LEARNER)
