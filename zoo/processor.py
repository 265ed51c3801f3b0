"""What the machine's processor can do, and its memory."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

import torch

# Kernels that oneDNN keeps, and results that torch's part above it keeps. A kernel takes half a megabyte, and 0.5 ms to
# make. With 32 visitors of five models 32 kernels gave 59 answers a second, 256 gave 67, 512 gave 75, as 1,024 did; of
# the results more than a few gave nothing.
KEPT = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": 256, "LRU_CACHE_CAPACITY": 8}
M_ARENA_MAX = -8  # of malloc.h


def keep_few_kernels() -> None:
    """oneDNN makes a kernel for each shape of a product and keeps 1,024 of them: texts of ever new lengths would take
    hundreds of megabytes. Works until the first product; what the environment says already stays."""
    for name, count in KEPT.items():
        os.environ.setdefault(name, str(count))


def computes_bf16(device: torch.device) -> bool:
    """Whether products in bf16 are faster here than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@cache
def multiplies_tiles() -> bool:
    """Whether it has AMX."""
    return bool(torch.cpu._is_amx_tile_supported())


def use_cores(count: int) -> None:
    """Let torch compute in the calling thread with so many threads. Those that begin to compute from now on do as well,
    for torch has no other way; one that computes already goes on as before."""
    torch.get_num_threads()  # or a thread that is new to torch takes, with its first product, what another one set
    torch.set_num_threads(count)


def physical_memory() -> int:
    """Bytes of the machine; 8 GB where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return 8 * 2**30


def share_arenas() -> None:
    """Let threads that begin from now on take memory from the same two places. glibc gives each its own, up to eight
    for each core, and what one has freed no other can use; but two threads alone compute here."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(M_ARENA_MAX, 2)


def give_memory_back() -> None:
    """Tell the C library to return what is free to the system. glibc keeps blocks of up to 32 MB for itself once it has
    seen some: half of a model of 480 MB stayed resident after it was gone."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
