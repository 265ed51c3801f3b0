"""A folder in Hub layout -> a Model: config, key table, strict fill, tokenizer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.contracts import HeadSpec
from zoo.errors import BadCheckpoint
from zoo.family import Family, Model, Network, empty_network
from zoo.weights import keymap
from zoo.weights.formats import read_json, read_tensors, weight_files

NATIVE = "zoo"  # the part of config.json that marks a checkpoint written by this project: heads, names as here


def load_folder(
    folder: Path,
    families: Iterable[Family],
    name: str | None = None,
    source: str | None = None,
    revision: str = "local",
    labels: Collection[str] = (),
) -> Model:
    """Load a checkpoint strictly.

    `labels` replaces the label names of a classifier whose config has only LABEL_0, LABEL_1, ...
    Raises BadCheckpoint for files that are absent, broken or of an unknown family, CheckpointMismatch when tensors
    and architecture do not agree.
    """
    source = source or str(folder)
    raw = read_json(folder / "config.json")
    family = family_of(raw, families, source)
    report = keymap.LoadReport()
    config = family.read_config(raw, report)
    tensors = read_tensors(weight_files(folder))
    if NATIVE in raw:
        heads = {n: HeadSpec(h["kind"], tuple(h.get("labels", ()))) for n, h in raw[NATIVE]["heads"].items()}
        network = empty_network(family, config, heads)
        table = keymap.KeyTable(tuple(keymap.Rename(n, n) for n, _ in network.named_parameters()))
    else:
        prefix = family.keys(config, {}, ()).prefix
        names = keymap.modern_names(tensors, prefix).values()
        heads = _relabel(family.heads_in(set(names), raw), labels, source)
        network = empty_network(family, config, heads)
        table = family.keys(config, heads, set(names))
    wanted = {n: p.shape for n, p in network.named_parameters()}
    parameters, filled = keymap.apply(table, tensors, wanted, source, family.title)
    filled.notes = report.notes
    assign(network, parameters)
    tokenizer = family.read_tokenizer(folder, config)
    if tokenizer.vocabulary > config.vocab_size:
        raise BadCheckpoint(
            f"{source}: the tokenizer has {tokenizer.vocabulary} tokens, the model only {config.vocab_size}. "
            "The vocabulary files belong to another checkpoint."
        )
    extra = raw.get(NATIVE, {})
    return Model(name or source, family, config, network, tokenizer, heads, source, revision, filled, extra)


def family_of(raw: Mapping[str, Any], families: Iterable[Family], source: str) -> Family:
    """The family that `model_type` in config.json names. Raises BadCheckpoint when it is absent or not in the zoo."""
    families = tuple(families)
    kind = raw.get("model_type")
    for family in families:
        if kind in family.model_types:
            return family
    known = ", ".join(sorted(t for f in families for t in f.model_types))
    said = f"names the model_type {kind!r}" if kind else "has no model_type"
    raise BadCheckpoint(f"config.json of {source} {said}. The zoo has: {known}.")


def assign(network: Network, parameters: Mapping[str, Tensor]) -> None:
    """Make the tensors the network's parameters, in float32; float32 files are used where they lie, without a copy."""
    for name, tensor in parameters.items():
        path, _, leaf = name.rpartition(".")
        module = network.get_submodule(path)
        setattr(module, leaf, nn.Parameter(tensor.to(torch.float32), requires_grad=False))
    left = [n for n, p in network.named_parameters() if p.is_meta]
    assert not left, f"parameters left empty: {left}"


def _relabel(heads: dict[str, HeadSpec], labels: Collection[str], source: str) -> dict[str, HeadSpec]:
    if not labels:
        return heads
    renamed = {}
    for name, spec in heads.items():
        if spec.kind in ("classifier", "tokens") and name == "classifier":
            if len(spec.labels) != len(labels):
                raise BadCheckpoint(f"{source} has {len(spec.labels)} labels, the catalog names {len(labels)}.")
            spec = HeadSpec(spec.kind, tuple(labels))
        renamed[name] = spec
    return renamed
