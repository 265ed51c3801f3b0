"""Other libraries that continue texts greedily, with the weights of one GPT-2; each where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from zoo.bench.apart import Apart, Run
from zoo.bench.peers import installed, opened, transformers_quietly

Prompts = Sequence[Sequence[int]]
Decoder = Callable[[Prompts, int], list[list[int]]]  # prompts, new tokens -> the new tokens
FIRST = "transformers"


@contextmanager
def decoders(folder: Path, apart: bool) -> Iterator[tuple[dict[str, Callable[..., Callable[[], Any]]], list[str]]]:
    """GPT-2 by runner, each to be given prompts and a number of new tokens and then run as often as wanted; and the
    names of packages that are not installed. With `apart`, CTranslate2 has a process of its own."""
    if not installed("transformers"):
        yield {}, ["transformers"]
        return
    found: dict[str, Callable[..., Callable[[], Any]]] = {}
    for name, dtype in ((FIRST, torch.float32), ("transformers bf16", torch.bfloat16)):
        found[name] = partial(partial, _transformers(folder, dtype))
    if not installed("ctranslate2"):
        yield found, ["ctranslate2"]
    elif apart:
        process = Apart(_ctranslate2, folder)
        found |= {name: partial(_there, process, name) for name in process.names}
        try:
            yield found, []
        finally:
            process.close()
    else:
        yield found | {name: partial(partial, run) for name, run in _ctranslate2(folder).items()}, []


def _there(process: Apart, name: str, *given: Any) -> Run:
    return Run(process, name, given)


def _transformers(folder: Path, dtype: torch.dtype) -> Decoder:
    model = opened("GPT2LMHeadModel", folder, dtype=dtype)

    def run(prompts: Prompts, new: int) -> list[list[int]]:
        ids = torch.tensor(prompts)
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=new, max_new_tokens=new,
            pad_token_id=0,
        )  # fmt: skip
        rows: list[list[int]] = made[:, ids.shape[1] :].tolist()
        return rows

    return run


def _ctranslate2(folder: Path) -> dict[str, Decoder]:
    import ctranslate2

    made = folder / "ctranslate2"
    ctranslate2.converters.TransformersConverter(str(folder)).convert(str(made))
    words = transformers_quietly().AutoTokenizer.from_pretrained(folder)

    def decoder(kind: str) -> Decoder:
        generator = ctranslate2.Generator(str(made), "cpu", compute_type=kind, intra_threads=torch.get_num_threads())

        def run(prompts: Prompts, new: int) -> list[list[int]]:
            texts = [words.convert_ids_to_tokens(list(prompt)) for prompt in prompts]
            results = generator.generate_batch(
                texts, max_length=new, min_length=new, sampling_topk=1, include_prompt_in_result=False
            )
            return [list(one.sequences_ids[0]) for one in results]

        return run

    return {"CTranslate2": decoder("float32"), "CTranslate2 int8": decoder("int8")}
