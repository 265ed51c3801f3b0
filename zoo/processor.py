"""What the machine's processor can do."""

from __future__ import annotations

import torch


def computes_bf16(device: torch.device) -> bool:
    """Whether products in bf16 are faster here than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
