"""A trained network -> a checkpoint folder in Hub layout: sharded safetensors, config.json, tokenizer.json.

Matrices are stored as int8 with one factor a row (see zoo/weights/formats.py), the rest in float32.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from zoo.contracts import HeadSpec, Tokenizer
from zoo.family import Family, Network
from zoo.weights.load import slots

SHARD_BYTES = 9_500_000


def export_both(
    folder: Path,
    family: Family,
    config: Any,
    network: Network,
    heads: Mapping[str, HeadSpec],
    tokenizer: Tokenizer,
) -> None:
    """Write the int8 checkpoint to `folder`, and one in float32 beside it, to measure what the rounding costs."""
    export(folder, family, config, network, heads, tokenizer)
    export(folder.with_name(f"{folder.name}-float32"), family, config, network, heads, tokenizer, quantized=False)


def export(
    folder: Path,
    family: Family,
    config: Any,
    network: Network,
    heads: Mapping[str, HeadSpec],
    tokenizer: Tokenizer,
    quantized: bool = True,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write the checkpoint; the folder's older weights go. `facts` are kept beside the heads in config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, parameter in slots(network).items():
        tensor = parameter.detach().float().cpu().contiguous()
        if quantized and tensor.dim() == 2:
            values, scale = quantize(tensor)
            tensors |= dict(row_ranges(name, values)) | {f"{name}.scale": scale}
        else:
            tensors |= dict(row_ranges(name, tensor))
    for old in [*folder.glob("model*.safetensors"), *folder.glob("model*.index.json")]:
        old.unlink()
    write_shards(folder, tensors)
    described = describe(family, config, heads, tensors)
    described["zoo"] |= facts or {}
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    tokenizer.save(folder)


def describe(
    family: Family, config: Any, heads: Mapping[str, HeadSpec], tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    """What config.json says of a checkpoint in our own layout: config, heads, a digest of the numbers."""
    return {
        "model_type": family.model_types[0],
        **asdict(config),
        "zoo": {
            "format": 1,
            "revision": digest(tensors),
            "heads": {name: asdict(spec) for name, spec in heads.items()},
        },
    }


def quantize(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """int8 values and one float32 factor a row: [R, C] -> [R, C], [R]. The largest value of a row becomes 127."""
    scale = matrix.abs().amax(1).clamp(min=1e-12) / 127
    return (matrix / scale[:, None]).round().clamp(-127, 127).to(torch.int8), scale


def row_ranges(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensor, or when it is too large for a file, equal ranges of its rows as NAME@0, NAME@1, ..."""
    parts = -(-tensor.numel() * tensor.element_size() // SHARD_BYTES)
    if parts == 1:
        yield name, tensor
        return
    for index, part in enumerate(tensor.chunk(parts)):
        yield f"{name}@{index}", part.contiguous()


def write_shards(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fill files up to SHARD_BYTES in order, and write the index."""
    shards: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if shards[-1] and used + size > SHARD_BYTES:
            shards.append({})
            used = 0
        shards[-1][name] = tensor
        used += size
    files = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards, strict=True):
        save_file(shard, folder / file, metadata={"format": "pt"})
        (folder / file).chmod(0o644)
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    weight_map = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Twelve hexadecimal digits over all names and numbers: the revision of an embedded checkpoint."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].numpy().tobytes())
    return total.hexdigest()[:12]
