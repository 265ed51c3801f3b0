"""Any checkpoint that loads -> a folder in Hub layout: safetensors, config.json, tokenizer.json, a card.

A checkpoint whose config.json has a model_type keeps its published names, config and vocabulary files, so that other
programs read the result, too; only buffers and second names of tied tensors are left out. One of another program
(AllenNLP, bilm-tf, fastai) gets the layout of our own: config.json with a "zoo" section, tensors named as here.

The folder appears whole or not at all: it is written beside its place, loaded back, compared bit by bit, then renamed.
"""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors.torch import save_file
from torch import Tensor

from zoo.errors import BadCheckpoint, BadParameter
from zoo.family import Family, Model, labels_of
from zoo.weights.formats import SHARDED, SINGLE
from zoo.weights.keymap import ALIGNED
from zoo.weights.layout import Opened
from zoo.weights.load import CONFIG, NATIVE, load_folder, slots

SHARD_BYTES = 5_000_000_000  # the Hub's own client cuts files there
CARD = "README.md"
MARK = "<!-- written by python -m zoo convert -->"
BESIDE = ("special_tokens_map.json", "added_tokens.json", "generation_config.json")  # kept when they are there
PROBE = "A cat sat on the mat; it's 3.5 €. 猫坐在垫子上。"


@dataclass(frozen=True)
class Written:
    """What a conversion wrote: files with their sizes in bytes, and what it left out with the reason."""

    folder: Path
    files: Mapping[str, int]
    dropped: Mapping[str, str]
    published: bool  # whether tensors and config keep their published names


def check_target(folder: Path) -> None:
    """Raise BadParameter unless nothing is at `folder`, or an empty folder."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise BadParameter(f"{folder} is a file. Name a folder that does not exist yet.")
    if any(folder.iterdir()):
        card = folder / CARD
        ours = card.is_file() and MARK in card.read_text(encoding="utf-8", errors="replace")
        what = "holds an earlier conversion. Delete it" if ours else "is not empty. Empty it"
        raise BadParameter(f"{folder} {what}, or name a folder that does not exist yet; nothing is overwritten.")


def convert(
    model: Model,
    files: Opened,
    folder: Path,
    families: Iterable[Family],
    facts: Mapping[str, str],
    shard_bytes: int = SHARD_BYTES,
) -> Written:
    """Write `model`, loaded from `files`, to `folder`; weights in shards of at most `shard_bytes`.

    `facts` are further lines of the card (licence, paper). Raises BadParameter when the folder is taken or cannot be
    written, BadCheckpoint when what was written does not load back to the same bits.
    """
    check_target(folder)
    published = _is_published(files)
    draft = folder.absolute().with_name(f".{folder.absolute().name}.{uuid4().hex[:8]}.tmp")
    try:
        draft.mkdir(parents=True)
        if published:
            _write_as_published(model, files, draft, shard_bytes)
        else:
            _write_ours(model, draft, shard_bytes)
        _check_same(model, draft, families)
        (draft / CARD).write_text(card(model, facts, published), encoding="utf-8")
        sizes = {p.name: p.stat().st_size for p in sorted(draft.iterdir())}
        if folder.is_dir():
            folder.rmdir()
        draft.replace(folder)
    except OSError as error:
        raise BadParameter(
            f"{folder} cannot be written: {error.strerror or error}. Name a folder on a disk with room for it."
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Written(folder, sizes, model.report.dropped, published)


def write_weights(folder: Path, tensors: Mapping[str, Tensor], shard_bytes: int = SHARD_BYTES) -> None:
    """model.safetensors, or when that would be larger than a shard, several with their index."""
    shards: list[list[str]] = [[]]
    used = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if shards[-1] and used + size > shard_bytes:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += size
    single = len(shards) == 1
    places = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    places = [SINGLE[0]] if single else places
    for place, names in zip(places, shards, strict=True):
        _save_aligned({n: _alone(tensors[n]) for n in names}, folder / place)
        (folder / place).chmod(0o644)
    if not single:
        total = sum(t.numel() * t.element_size() for t in tensors.values())
        weight_map = {n: place for place, names in zip(places, shards, strict=True) for n in names}
        _write_json(folder / SHARDED[0], {"metadata": {"total_size": total}, "weight_map": weight_map})


def _save_aligned(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a file whose tensors begin at a multiple of ALIGNED bytes, where they can be computed with as they lie.

    The format puts them right behind a header of any length; a header that is too short is filled up with spaces.
    """
    save_file(tensors, path, {"format": "pt"})
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    missing = -(8 + length) % ALIGNED
    if missing:
        key = len(',"padding":""')
        save_file(tensors, path, {"format": "pt", "padding": " " * ((missing - key) % ALIGNED)})


def _write_as_published(model: Model, files: Opened, folder: Path, shard_bytes: int) -> None:
    tensors = {name: t for name, t in files.tensors.items() if name not in model.report.dropped}
    write_weights(folder, tensors, shard_bytes)
    raw = dict(files.config)
    raw.setdefault("model_type", model.family.model_types[0])
    labels = model.heads["classifier"].labels if "classifier" in model.heads else ()
    if labels and labels != labels_of(raw):  # the catalog knows what LABEL_0 means; a folder is not in the catalog
        raw["id2label"] = {str(i): name for i, name in enumerate(labels)}
        raw["label2id"] = {name: i for i, name in enumerate(labels)}
    _write_json(folder / CONFIG, raw)
    for name in (*model.family.tokenizer_files, *BESIDE):
        if (files.folder / name).is_file():
            shutil.copyfile(files.folder / name, folder / name)
    if not (folder / "tokenizer.json").exists():
        model.tokenizer.save(folder)


def _write_ours(model: Model, folder: Path, shard_bytes: int) -> None:
    from zoo.training.export import describe

    tensors = {name: t.detach() for name, t in slots(model.network).items()}
    write_weights(folder, tensors, shard_bytes)
    described = describe(model.family, model.config, model.heads, tensors)
    described[NATIVE] = {**model.extra, **described[NATIVE]}
    _write_json(folder / CONFIG, described)
    model.tokenizer.save(folder)


def _check_same(model: Model, folder: Path, families: Iterable[Family]) -> None:
    """Load what was written and compare it with what it was made from: every bit, heads, tokens."""
    again = load_folder(folder, families, name=model.name)
    ours, theirs = slots(model.network), slots(again.network)
    different = [n for n in ours if n not in theirs or not _same_bits(ours[n], theirs[n])]
    different += [f"{name} (a head)" for name in model.heads if again.heads.get(name) != model.heads[name]]
    if again.tokenizer.pieces(PROBE) != model.tokenizer.pieces(PROBE):
        different.append("the tokenizer")
    if different:
        raise BadCheckpoint(
            f"{model.source} does not come back as it was: {', '.join(different[:6])}. Nothing was kept. This is a "
            "mistake of this program; please report it with the name of the checkpoint."
        )


def card(model: Model, facts: Mapping[str, str], published: bool) -> str:
    """The README.md of a converted checkpoint."""
    reasons: dict[str, list[str]] = {}
    for name, why in model.report.dropped.items():
        reasons.setdefault(why.partition(" of ")[0] if "second name" in why else why, []).append(name)
    hub = "/" in model.source and model.revision != "local"
    front = ["---", *([f"base_model: {model.source}"] if hub else []), "tags:", f"- {model.family.name}", "---"]
    heads = [
        f"{name} ({spec.kind})" + (f": {', '.join(spec.labels)}" if spec.labels else "")
        for name, spec in model.heads.items()
    ]
    named = {
        "Converted from": f"{model.source} at {model.revision}" if model.revision != "local" else "a folder",
        "Family": f"{model.family.title} ({model.family.card.paper}, {model.family.card.url})",
        **facts,
        "Heads": "; ".join(heads) or "none",
        "Parameters": f"{model.parameters:,}",
        "Converted on": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    lines = [*front, MARK, "", f"# {model.source.rpartition('/')[2]}, as safetensors", ""]
    lines += [f"- **{name}**: {text}" for name, text in named.items()]
    lines += ["", "Written by `python -m zoo convert`, loaded back and compared bit by bit with what it was made from."]
    if published:
        lines.append("Names of tensors, config.json and vocabulary are the published ones.")
    else:
        lines.append("Names and config are those of the zoo that wrote it, which other programs do not know.")
    if reasons:
        lines += ["", "Left out:", ""]
        lines += [f"- {len(names)} × {why}, such as `{names[0]}`" for why, names in reasons.items()]
    return "\n".join(lines) + "\n"


def _raw(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _is_published(files: Opened) -> bool:
    """Whether config.json is the one that other programs know: neither ours, nor made up from files of another kind."""
    return NATIVE not in files.config and bool(files.config) and dict(files.config) == _raw(files.folder)


def _alone(tensor: Tensor) -> Tensor:
    """The tensor in memory of its own, as safetensors wants it."""
    tensor = tensor.contiguous()
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if whole else tensor.clone()


def _same_bits(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(a.detach().contiguous().view(torch.uint8), b.detach().contiguous().view(torch.uint8))


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
