"""`python -m zoo list | show | pull | check | convert | train | heldout | parity | bench`: the zoo from a shell.

Results go to stdout, progress to stderr. A user's mistake gives exit code 2 and one sentence on stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from zoo.errors import BadData, BadParameter, ZooError


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises BadParameter instead of printing and leaving."""

    def error(self, message: str) -> NoReturn:
        """Turn a usage mistake into one of ours."""
        raise BadParameter(f"{message}. See `{self.prog} --help`.")


SOURCE = "a catalog name, owner/name[@revision] of the Hub, or a folder in Hub layout"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = Parser(prog="python -m zoo", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, parser_class=Parser)
    listed = commands.add_parser("list", help="all checkpoints of the catalog")
    listed.add_argument("--task", help="only those that answer this task")
    listed.add_argument("--json", dest="as_json", action="store_true")
    for name, about in (
        ("show", "what the catalog and its files say of a checkpoint"),
        ("pull", "download a checkpoint"),
        ("check", "load a checkpoint strictly and say tensor by tensor what came from where"),
    ):
        one = commands.add_parser(name, help=about)
        one.add_argument("source", help=SOURCE)
        one.add_argument("--json", dest="as_json", action="store_true")
        if name == "pull":
            one.add_argument("--refresh", action="store_true", help="ask the Hub where the branch stands now")
    convert = commands.add_parser("convert", help="write a checkpoint as safetensors in Hub layout")
    convert.add_argument("source", help=SOURCE)
    convert.add_argument("folder", type=Path, help="a folder that does not exist yet")
    convert.add_argument("--shard", type=float, default=5.0, metavar="GB", help="largest weight file; 5 by default")
    convert.add_argument("--json", dest="as_json", action="store_true")
    train = commands.add_parser("train", help="run a recipe of zoo/training/, on your own data or on the zoo's")
    train.add_argument("recipe", nargs="?", help="its name; left out, all recipes are listed")
    train.add_argument("--list", dest="listed", action="store_true", help="all recipes with a line on each")
    train.add_argument("--data", type=Path, help="a file of yours, or the folder with the recipe's data sets")
    train.add_argument("--dev", type=Path, help="rows to watch by; a part of --data is split off for that otherwise")
    train.add_argument("--from", dest="source", default="", metavar="CHECKPOINT", help=f"go on from it: {SOURCE}")
    train.add_argument("--soft", type=Path, help="learn from a teacher too: the --out of the recipe soft-labels")
    train.add_argument("--only", default="", metavar="HEAD", help="the head to teach, of the recipe head: nli or qa")
    train.add_argument(
        "--out", type=Path, help="where snapshots, the log and the checkpoint go; runs/RECIPE by default"
    )
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--resume", action="store_true", help="go on from the last snapshot in --out")
    train.add_argument("--device", default="", help="cuda or cpu; the GPU when there is one")
    train.add_argument("--threads", type=int, help="processor threads to use")
    train.add_argument("--scale", type=float, default=1.0, help="part of the recipe's steps; 0.01 for a quick look")
    train.add_argument("--tiny", action="store_true", help="a network of toy size, to see a recipe work in seconds")
    parity = commands.add_parser("parity", help="run the tests against the originals and print the worst differences")
    parity.add_argument("--saved", action="store_true", help="measure nothing: the table that --save kept")
    parity.add_argument("--save", action="store_true", help="keep the table in zoo/parity.json and in README.md")
    parity.add_argument("--json", dest="as_json", action="store_true", help="every row, one for each comparison")
    heldout = commands.add_parser("heldout", help="write evaluation files that no recipe trains on")
    heldout.add_argument("--data", type=Path, required=True, help="the folder with the data sets")
    heldout.add_argument("--out", type=Path, required=True, help="the folder for the files")
    bench = commands.add_parser("bench", help="measure this zoo beside other libraries, and beside the least possible")
    bench.add_argument(
        "what",
        choices=(
            "encoder", "mixed", "decode", "recurrent", "layouts", "short", "load", "serve", "page", "all", "verdicts",
        ),
        help="ours beside every peer that is installed (tests/bench/requirements.txt): BERT-base on one text, on texts "
        "of mixed length, GPT-2 going on, LSTMs and XLNet; one linear map in every layout; short texts by torch and by "
        "ONNX Runtime; from the start of a process to the weights in memory; many visitors of one engine; the page in "
        "a browser; or all but the layouts and short texts, with a verdict on each aim; or, without measuring, those "
        "on the runs in docs/aims",
    )  # fmt: skip
    bench.add_argument("--model", default="all", help="of load: bert-base, gpt2, xlnet-base or all")
    bench.add_argument("--rounds", type=int, default=3, help="at least; what takes little time goes on for 45 seconds")
    bench.add_argument("--json", dest="as_json", action="store_true", help="of load: figures for programs")
    bench.add_argument("--csv", type=Path, help="a file for every figure")
    bench.add_argument(
        "--aims", dest="aims_csv", type=Path, metavar="FILE",
        help="of all: a CSV file of runs to add this one to; the verdict printed is on the mean of all in it",
    )  # fmt: skip
    bench.add_argument("--plot", type=Path, help="a picture of the ratios")
    bench.add_argument("--tiny", action="store_true", help="toy sizes, to see it work in a minute")
    bench.add_argument("--seconds", type=float, default=30, help="of serve: how long all ask at once")
    bench.add_argument("--visitors", type=int, default=32, help="of serve")
    bench.add_argument("--save", action="store_true", help="of verdicts: write them into README.md")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        options = vars(parser().parse_args(arguments))
        command = options.pop("command")
        return COMMANDS[command](**options)
    except ZooError as error:
        print(error.message, file=sys.stderr)
        return 2


def _list(task: str | None, as_json: bool) -> int:
    from zoo import catalog

    tasks = sorted({t for c in catalog.CHECKPOINTS for t in c.tasks})
    if task is not None and task not in tasks:
        raise BadParameter(f"{task!r} is no task; choose from {', '.join(tasks)}.")
    rows = catalog.by_task(task) if task else list(catalog.CHECKPOINTS)
    if as_json:
        _print_json([_row(c) for c in rows])
        return 0
    width = max(len(c.name) for c in rows)
    for c in rows:
        where = "ready" if c.embedded else f"{c.megabytes:,} MB"
        print(f"{c.name:{width}}  {c.family:6} {where:>8}  {', '.join(c.tasks) or '-':22} {c.source}")
    return 0


def _show(source: str, as_json: bool) -> int:
    from zoo import catalog

    row = catalog.find(source.partition("@")[0])
    if row is None:
        return _check(source, as_json, tensors=False)
    family = catalog.family(row.family)
    facts = _row(row) | {"architecture": family.title, "paper": f"{family.paper} {family.url}"}
    card = catalog.EMBEDDED / row.source / "README.md"
    if row.embedded and card.is_file():
        facts["card"] = str(card)
    if as_json:
        _print_json(facts)
        return 0
    for name, value in facts.items():
        if value not in ((), {}, None):
            print(f"{name:13} {_words(value)}")
    return 0


def _pull(source: str, as_json: bool, refresh: bool) -> int:
    from zoo.opening import locate

    fetched, _ = locate(source, progress=True, refresh=refresh)
    sizes = {p.name: p.stat().st_size for p in sorted(fetched.folder.rglob("*")) if p.is_file()}
    facts: dict[str, Any] = {"source": fetched.source, "revision": fetched.revision, "folder": str(fetched.folder)}
    if as_json:
        _print_json(facts | {"files": sizes, "bytes": sum(sizes.values())})
    else:
        print(f"{fetched.source} at {fetched.revision} is in {fetched.folder}: {_sizes(sizes)}")
    return 0


def _convert(source: str, folder: Path, shard: float, as_json: bool) -> int:
    from zoo.models.shelf import FAMILIES
    from zoo.opening import load, locate
    from zoo.weights import convert
    from zoo.weights.load import open_folder

    if not 0 < shard <= 1000:
        raise BadParameter(f"--shard is {shard}; it must be above 0 and at most 1000 GB.")
    convert.check_target(folder)
    fetched, row = locate(source, progress=True)
    model = load(source, progress=True)
    _, files = open_folder(fetched.folder, FAMILIES, source, row.family if row else None)
    facts = {"Paper": row.paper} if row and row.paper else {}
    facts["Licence"] = row.licence if row else "see where it comes from"
    written = convert.convert(model, files, folder, FAMILIES, facts, int(shard * 1e9))
    if as_json:
        _print_json({"folder": str(folder), "files": written.files, "dropped": written.dropped})
    else:
        print(f"{model.source} at {model.revision} is in {folder}: {_sizes(written.files)}")
        print("Loaded back: the same numbers to the last bit, the same heads, the same tokens.")
    return 0


def _check(source: str, as_json: bool, tensors: bool = True) -> int:
    from zoo import parity
    from zoo.contracts import CutsWords
    from zoo.opening import load
    from zoo.weights.load import slots

    model = load(source, progress=True)
    report = model.report
    facts: dict[str, Any] = {
        "source": model.source,
        "revision": model.revision,
        "family": model.family.title,
        "parameters": model.parameters,
        "longest": model.longest,
        "heads": {name: [spec.kind, *spec.labels] for name, spec in model.heads.items()},
    }
    notes = list(report.notes)
    if isinstance(model.tokenizer, CutsWords):
        notes.append(f"words are cut by {model.tokenizer.splitter()}")
    if tensors:
        exactness = str(parity.summary(model.family.name, parity.read()) or "not measured")
        facts |= {"tensors": report.sources, "dropped": report.dropped, "notes": notes, "parity": exactness}
    if as_json:
        _print_json(facts)
        return 0
    if tensors:
        shapes = {name: list(p.shape) for name, p in slots(model.network).items()}
        for target, key in report.sources.items():
            print(f"{target:48} {shapes[target]!s:16} <- {key}")
        for key, why in report.dropped.items():
            print(f"{'(dropped)':48} {'':16} <- {key}: {why}")
        for note in notes:
            print(f"note: {note}")
    for name, spec in model.heads.items():
        print(f"head {name}: {spec.kind}" + (f" ({', '.join(spec.labels)})" if spec.labels else ""))
    print(
        f"{model.source} at {model.revision}: {model.family.title}, {model.parameters:,} parameters, reads "
        f"{model.longest} tokens; every tensor found its place."
    )
    if tensors:
        print(f"parity of {model.family.title}: {facts['parity']}")
    return 0


def _train(recipe: str | None, listed: bool, **options: Any) -> int:
    from zoo.training import command

    if recipe is None or listed:
        print(command.listing())
        return 0
    try:
        print(command.train(command.Asked(recipe=recipe, **options)))
    except KeyboardInterrupt:
        print("Stopped. The same command with --resume goes on from the last snapshot.", file=sys.stderr)
        return 130
    return 0


def _heldout(data: Path, out: Path) -> int:
    from zoo.training import heldout

    for name, rows in heldout.write(data, out).items():
        print(f"{out / name}: {rows:,} rows")
    return 0


def _bench(**options: Any) -> int:
    from zoo.bench import command

    return command.run(lambda lines: print(lines, flush=True), **options)


def _parity(saved: bool, save: bool, as_json: bool) -> int:
    from zoo import parity

    rows = parity.read() if saved else parity.measure()
    if not rows:
        raise BadData("No parity table is kept. Measure one with `python -m zoo parity --save`.")
    _print_json(rows) if as_json else print(parity.table(rows))
    far = parity.over(rows)
    for row in far:
        print(f"{row['family']} {row['compared']}: {row['worst']:.1e} from {row['reference']}", file=sys.stderr)
    if save and not far:
        if not saved:
            parity.save(rows)
        parity.write_page()
    return 1 if far else 0


def _row(c: Any) -> dict[str, Any]:
    return {
        "name": c.name,
        "family": c.family,
        "source": "embedded" if c.embedded else c.source,
        "tasks": {task: list(heads) for task, heads in c.tasks.items()},
        "labels": list(c.labels),
        "languages": list(c.languages),
        "parameters": c.parameters,
        "megabytes": c.megabytes,
        "licence": c.licence,
        "about": c.about,
        "figures": c.figures,
    }


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_words(v)}" for k, v in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _sizes(files: Mapping[str, int]) -> str:
    """All files together, and each with its size."""
    named = ", ".join(f"{name} {_size(size)}" for name, size in files.items())
    return f"{_size(sum(files.values()))} ({named})"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:,.1f} kB"


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


COMMANDS: dict[str, Callable[..., int]] = {
    "list": _list,
    "show": _show,
    "pull": _pull,
    "check": _check,
    "convert": _convert,
    "train": _train,
    "heldout": _heldout,
    "parity": _parity,
    "bench": _bench,
}

if __name__ == "__main__":
    sys.exit(main())
