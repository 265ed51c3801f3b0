"""`python -m zoo train`: what was asked for is checked before hours go by, and a folder holds one run."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import catalog
from zoo.errors import BadParameter, MissingPackage, ZooError, did_you_mean
from zoo.models.shelf import FAMILIES
from zoo.opening import locate
from zoo.pages import without_folders
from zoo.training.loop import replacing
from zoo.training.recipes import RECIPES, Recipe, Run
from zoo.weights.load import open_folder

RUN = "run.json"  # in the run's folder: what it was started with


@dataclass(frozen=True)
class Asked:
    """The options of the command line."""

    recipe: str
    data: Path | None
    dev: Path | None
    source: str
    soft: Path | None
    out: Path | None
    seed: int
    resume: bool
    device: str
    threads: int | None
    scale: float
    tiny: bool
    only: str = ""


def listing() -> str:
    """All recipes, a line each."""
    width = max(map(len, RECIPES))
    return "\n".join(f"{name:{width}}  {recipe.about}" for name, recipe in RECIPES.items())


def train(asked: Asked) -> str:
    """Check the options, run the recipe, and say in a line what came of it. Raises BadParameter and what recipes do."""
    import torch

    recipe = recipe_of(asked.recipe)
    absent = [package for package in ("matplotlib", "tqdm") if importlib.util.find_spec(package) is None]
    if absent:  # or hours of training would end without a plot
        raise MissingPackage(f"Training needs {' and '.join(absent)}: pip install -r zoo/training/requirements.txt")
    data = data_of(asked, recipe)
    if not 0 < asked.scale <= 100:
        raise BadParameter(f"--scale is {asked.scale}; it must be above 0 and at most 100.")
    if asked.threads is not None and asked.threads < 1:
        raise BadParameter(f"--threads is {asked.threads}; it must be at least 1.")
    if asked.only and asked.recipe != "head":
        raise BadParameter(f"--only is for the recipe head; {asked.recipe} teaches all that it has.")
    device = device_of(asked.device)
    start = start_of(asked.source, recipe, asked.recipe) if asked.source else None
    out = asked.out or Path("runs") / asked.recipe
    claim(out, asked, data)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    run = Run(
        data,
        out,
        asked.seed,
        asked.resume,
        device,
        asked.scale,
        start,
        asked.tiny,
        asked.source,
        asked.dev,
        asked.soft,
        asked.only,
        typed(asked),
    )
    began = time.monotonic()
    try:
        scores = recipe(run)
    except ZooError:
        disown(out)
        raise
    said = ", ".join(f"{name} {value:.2f}" for name, value in scores.items())
    made = run.checkpoint if run.checkpoint.is_dir() else out
    return f"{asked.recipe}: {said or 'done'}; {(time.monotonic() - began) / 60:.1f} minutes; written to {made}"


def recipe_of(name: str) -> Recipe:
    """The recipe of that name. Raises BadParameter with close names."""
    if name not in RECIPES:
        raise BadParameter(f"{name!r} is no recipe.{did_you_mean(name, RECIPES)} Choose from {', '.join(RECIPES)}.")
    return RECIPES[name]


def data_of(asked: Asked, recipe: Recipe) -> Path:
    """--data, if it is what the recipe reads. Raises BadParameter."""
    data, name = asked.data, asked.recipe
    wanted = "a CSV, TSV, JSONL or SQuAD JSON file" if not recipe.needs else "the folder with the data sets"
    if data is None:
        raise BadParameter(f"--data is missing. {name} reads {wanted}.")
    if not recipe.needs:
        for option, path in (("--data", data), ("--dev", asked.dev)):
            if path is not None and not path.is_file():
                what = "is a folder" if path.is_dir() else "does not exist"
                raise BadParameter(f"{option} {path} {what}. {name} reads {wanted}.")
        if asked.soft is not None:
            raise BadParameter(f"--soft is for the recipes that read a folder of data sets; {name} reads a file.")
        return data
    if not data.is_dir():
        what = "is a file" if data.is_file() else "does not exist"
        raise BadParameter(f"--data {data} {what}. {name} reads {wanted}: {', '.join(recipe.needs)} below it.")
    absent = [part for part in recipe.needs if not (data / part).is_dir()]
    if absent:
        raise BadParameter(f"--data {data} has no {' and no '.join(absent)} below it, which {name} reads.")
    if asked.dev is not None:
        raise BadParameter(f"--dev is for recipes that read a file of yours; {name} has dev sets in its folder.")
    if asked.soft is not None and not asked.soft.is_dir():
        raise BadParameter(f"--soft {asked.soft} is no folder. Give the --out of the recipe soft-labels.")
    return data


def device_of(asked: str) -> str:
    """The device to train on: as asked, else the GPU when there is one. Raises BadParameter."""
    import torch

    if asked not in ("", "cpu", "cuda"):
        raise BadParameter(f"--device is {asked!r}; it must be cpu or cuda.")
    if asked == "cuda" and not torch.cuda.is_available():
        raise BadParameter("--device is cuda, but torch finds no GPU here. Leave the option out to train without one.")
    return asked or ("cuda" if torch.cuda.is_available() else "cpu")


def start_of(source: str, recipe: Recipe, name: str) -> Path:
    """The folder of the checkpoint to go on from. Raises BadParameter when it is of another family."""
    fetched, row = locate(source, progress=True)
    family, _ = open_folder(fetched.folder, FAMILIES, source, row.family if row else None)
    if recipe.family and family.name != recipe.family:
        fitting = [c.name for c in catalog.CHECKPOINTS if c.family == recipe.family]
        raise BadParameter(
            f"--from {source} is of the family {family.title}; {name} goes on from "
            f"{catalog.family(recipe.family).title} only: {', '.join(fitting)}, or a folder of your own."
        )
    return fetched.folder


def claim(out: Path, asked: Asked, data: Path) -> None:
    """Make the folder this run's, or make sure that it is. Raises BadParameter when it is another's."""
    kept = out / RUN
    if out.exists() and not out.is_dir():
        raise BadParameter(f"--out {out} is a file. Give a folder.")
    facts = {
        "recipe": asked.recipe,
        "from": asked.source,
        "seed": asked.seed,
        "scale": asked.scale,
        "tiny": asked.tiny,
        "data": _fingerprint(data),
        "dev": _fingerprint(asked.dev),
        "soft": _fingerprint(asked.soft),
        "only": asked.only,
    }
    there = kept.is_file() or (out / "snapshot.pt").is_file()
    if there and not asked.resume:
        raise BadParameter(f"{out} holds a run already. Go on with it by --resume, or give another --out.")
    if asked.resume and not there:
        raise BadParameter(f"There is no run to resume in {out}. Leave out --resume, or name its folder by --out.")
    if kept.is_file():
        before: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        other = [f"{k} was {before.get(k, '')!r}, now {v!r}" for k, v in facts.items() if before.get(k, "") != v]
        if other:
            raise BadParameter(f"The run in {out} was started otherwise: {'; '.join(other)}. Resume it with the same.")
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as fresh:
            fresh.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadParameter(f"--out {out} cannot be written to: {error.strerror}.") from None


def typed(asked: Asked) -> str:
    """The command that gives this checkpoint again. It goes into the card, so folders of this machine are left out."""
    words: list[object] = ["python", "-m", "zoo", "train", asked.recipe]
    named: Sequence[tuple[str, object]] = (
        ("--data", asked.data),
        ("--dev", asked.dev),
        ("--from", asked.source or None),
        ("--only", asked.only or None),
        ("--soft", asked.soft),
        ("--out", asked.out),
        ("--seed", asked.seed),
        ("--scale", asked.scale if asked.scale != 1 else None),
    )
    for option, value in named:
        words += [option, without_folders(value)] if value is not None else []
    return shlex.join(map(str, [*words, *(["--tiny"] if asked.tiny else [])]))


def disown(out: Path) -> None:
    """Take back the claim of a run that was refused before its first step, so that it can be started again."""
    if [path.name for path in out.iterdir()] == [RUN]:
        (out / RUN).unlink()


def _fingerprint(path: Path | None) -> str:
    """A file's name and digest; a folder's name alone, since its files are read by name."""
    if path is None:
        return ""
    if path.is_dir():
        return path.resolve().name
    return f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
