"""A folder in Hub layout -> a Model: config, key table, strict fill, tokenizer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.contracts import HeadSpec
from zoo.errors import BadCheckpoint
from zoo.family import Family, Model, Network, empty_network
from zoo.later import uncollected
from zoo.weights import keymap
from zoo.weights.formats import copier, read_json, read_tensors, weight_files
from zoo.weights.guards import NoLargerThan
from zoo.weights.layout import Layout, Opened, names_in

CONFIG = "config.json"
NATIVE = "zoo"  # the part of config.json that marks a checkpoint written by this project: heads, names as here


@uncollected()
def load_folder(
    folder: Path,
    families: Iterable[Family],
    name: str | None = None,
    source: str | None = None,
    revision: str = "local",
    labels: Collection[str] = (),
    assumed: str | None = None,
) -> Model:
    """Load a checkpoint strictly.

    `labels` replaces the label names of a classifier whose config has only LABEL_0, LABEL_1, ...; where it has the
    same names in another order, that order counts. `assumed` is the family of an old config.json without a model_type.
    Raises BadCheckpoint for files that are absent, broken or of an unknown family, CheckpointMismatch when tensors
    and architecture do not agree.
    """
    source = source or str(folder)
    family, files = open_folder(folder, families, source, assumed)
    raw, tensors = files.config, files.tensors
    report = keymap.LoadReport()
    if assumed is not None and "model_type" not in raw and not family.layouts:
        report.notes.append(f"config.json has no model_type; by the catalog it is {family.title}")
    with _config_at_fault(source), NoLargerThan(len(tensors), source):
        config = family.read_config(raw, report)
        if NATIVE in raw:
            heads = {n: HeadSpec(**{**h, "labels": tuple(h["labels"])}) for n, h in raw[NATIVE]["heads"].items()}
            network = empty_network(family, config, heads)
            table = keymap.KeyTable(tuple(keymap.Rename(name, name) for name in slots(network)))
        else:
            prefix = family.keys(config, {}, ()).prefix
            names = keymap.modern_names(tensors, prefix).values()
            heads = _relabel(family.heads_in(set(names), raw), labels, source)
            network = empty_network(family, config, heads)
            table = family.keys(config, heads, set(names))
    wanted = {name: tensor.shape for name, tensor in slots(network).items()}
    parameters, filled = keymap.apply(table, tensors, wanted, source, family.title, files.copy)
    filled.notes = report.notes
    strange = [n for n, t in parameters.items() if not t.is_floating_point() or t.is_meta or t.layout != torch.strided]
    if strange:
        kinds = ", ".join(sorted({str(parameters[n].dtype) for n in strange}))
        raise BadCheckpoint(
            f"{source} keeps {len(strange)} weights in a form that is not read here ({kinds}), {strange[0]} among "
            "them. Look for the same model in float32, float16 or bfloat16."
        )
    assign(network, parameters)
    tokenizer = family.read_tokenizer(files, config)
    if tokenizer.vocabulary > family.vocabulary(config):
        raise BadCheckpoint(
            f"{source}: the tokenizer has {tokenizer.vocabulary} tokens, the model only {family.vocabulary(config)}. "
            "The vocabulary files belong to another checkpoint."
        )
    extra = raw.get(NATIVE, {})
    return Model(name or source, family, config, network, tokenizer, heads, source, revision, filled, extra)


def open_folder(
    folder: Path, families: Iterable[Family], source: str, assumed: str | None = None
) -> tuple[Family, Opened]:
    """The family of a folder's checkpoint, and its files read. Raises BadCheckpoint."""
    families = tuple(families)
    path = folder / CONFIG
    raw = read_json(path) if path.is_file() else {}
    if "model_type" in raw:
        return family_of(raw, families, source), _read(folder, raw)
    found = layout_of(names_in(folder), raw, families)
    if found is not None:
        family, layout = found
        return family, layout.read(folder)
    family = family_of(read_json(path), families, source, assumed)
    return family, _read(folder, raw)


def _read(folder: Path, raw: Mapping[str, Any]) -> Opened:
    files = weight_files(folder)
    tensors = read_tensors(files)
    return Opened(folder, raw, tensors, copy=copier(files, tensors))


def layout_of(
    names: Collection[str], raw: Mapping[str, Any], families: Iterable[Family]
) -> tuple[Family, Layout] | None:
    """The family and layout that claim a folder whose config.json, if there is one, names no model_type."""
    for family in families:
        for layout in family.layouts:
            if layout.claims(names, raw):
                return family, layout
    return None


def family_of(raw: Mapping[str, Any], families: Iterable[Family], source: str, assumed: str | None = None) -> Family:
    """The family that `model_type` in config.json names, or `assumed` where an old file names none.

    Raises BadCheckpoint when neither is in the zoo.
    """
    families = tuple(families)
    kind = raw.get("model_type")
    for family in families:
        if kind in family.model_types or ("model_type" not in raw and family.name == assumed):
            return family
    known = ", ".join(sorted(t for f in families for t in f.model_types))
    said = f"names the model_type {kind!r}" if kind else "has no model_type"
    raise BadCheckpoint(f"config.json of {source} {said}. The zoo has: {known}.")


def slots(network: Network) -> dict[str, Tensor]:
    """What a file has to fill: all parameters, shared ones once, and the buffers that belong to a checkpoint."""
    lasting = set(network.state_dict())  # the running mean of a batch norm, not a table of positions
    return dict(network.named_parameters()) | {n: b for n, b in network.named_buffers() if n in lasting}


def assign(network: Network, parameters: Mapping[str, Tensor]) -> None:
    """Make the tensors the network's parameters, in float32; float32 files are used where they lie, without a copy."""
    for name, tensor in parameters.items():
        path, _, leaf = name.rpartition(".")
        module, value = network.get_submodule(path), tensor.to(torch.float32)
        setattr(module, leaf, value if leaf in module._buffers else nn.Parameter(value, requires_grad=False))
    left = [n for n, t in slots(network).items() if t.is_meta]
    assert not left, f"parameters left empty: {left}"


@contextmanager
def _config_at_fault(source: str) -> Iterator[None]:
    """What goes wrong inside comes from values of config.json that have the wrong type or contradict each other."""
    try:
        yield
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, AssertionError, RuntimeError) as error:
        raise BadCheckpoint(
            f"config.json of {source} holds a value that makes no such model ({type(error).__name__}: {error}). "
            "Compare it with the published one."
        ) from error


def _relabel(heads: dict[str, HeadSpec], labels: Collection[str], source: str) -> dict[str, HeadSpec]:
    if not labels:
        return heads
    renamed = {}
    for name, spec in heads.items():
        if spec.kind in ("classifier", "tokens") and name == "classifier":
            if len(spec.labels) != len(labels):
                raise BadCheckpoint(f"{source} has {len(spec.labels)} labels, the catalog names {len(labels)}.")
            spelled = {label.lower(): label for label in labels}
            if {label.lower() for label in spec.labels} == spelled.keys():  # the file says them: its order counts
                labels = tuple(spelled[label.lower()] for label in spec.labels)
            spec = HeadSpec(spec.kind, tuple(labels))
        renamed[name] = spec
    return renamed
