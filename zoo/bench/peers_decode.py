"""Other libraries that continue texts greedily, with the weights of one GPT-2; each where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from zoo.bench.peers import installed, transformers_quietly

Decoder = Callable[[Sequence[Sequence[int]], int], list[list[int]]]  # prompts, new tokens -> the new tokens
FIRST = "transformers"


def decoders(folder: Path) -> tuple[dict[str, Decoder], list[str]]:
    """GPT-2 by runner, and the names of packages that are not installed."""
    found: dict[str, Decoder] = {}
    if not installed("transformers"):
        return found, ["transformers"]
    for name, dtype in ((FIRST, torch.float32), ("transformers bf16", torch.bfloat16)):
        found[name] = _transformers(folder, dtype)
    if not installed("ctranslate2"):
        return found, ["ctranslate2"]
    for name, kind in (("CTranslate2", "float32"), ("CTranslate2 int8", "int8")):
        found[name] = _ctranslate2(folder, kind)
    return found, []


def _transformers(folder: Path, dtype: torch.dtype) -> Decoder:
    transformers = transformers_quietly()
    model = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=dtype).eval()

    def run(prompts: Sequence[Sequence[int]], new: int) -> list[list[int]]:
        ids = torch.tensor(prompts)
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=new, max_new_tokens=new,
            pad_token_id=0,
        )  # fmt: skip
        rows: list[list[int]] = made[:, ids.shape[1] :].tolist()
        return rows

    return run


def _ctranslate2(folder: Path, kind: str) -> Decoder:
    import ctranslate2

    made = folder / "ctranslate2"
    if not made.exists():
        ctranslate2.converters.TransformersConverter(str(folder)).convert(str(made))
    generator = ctranslate2.Generator(str(made), "cpu", compute_type=kind, intra_threads=torch.get_num_threads())
    words = transformers_quietly().AutoTokenizer.from_pretrained(folder)

    def run(prompts: Sequence[Sequence[int]], new: int) -> list[list[int]]:
        texts = [words.convert_ids_to_tokens(list(prompt)) for prompt in prompts]
        results = generator.generate_batch(
            texts, max_length=new, min_length=new, sampling_topk=1, include_prompt_in_result=False
        )
        return [list(one.sequences_ids[0]) for one in results]

    return run
