"""`python -m tasks run TASK ...` answers one input, `python -m tasks eval TASK ...` scores a file of labelled rows,
`python -m tasks batch TASK ...` writes what one to four models answer to each row of a file, `python -m tasks eval
--all` measures every small model on every task, `python -m tasks figures` writes what it measured into README and
cards, `python -m tasks saliency` tests explanations, `python -m tasks precision` tests bf16 and int8,
`python -m tasks sizes` counts bytes.

JSON alone goes to stdout (of `eval --all` tables), progress to stderr. A user's mistake gives exit code 2 and, with
--json, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from zoo.errors import BadData, BadParameter, InputEmpty, ZooError

if TYPE_CHECKING:
    from zoo import Engine

LANGUAGE = "bits"  # what `eval` can score beside the tasks
BASELINES = "baselines"  # stands among models for all simple methods
HELP = "See `python -m tasks eval --help`."


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises BadParameter instead of printing and leaving."""

    def error(self, message: str) -> NoReturn:
        """Turn a usage mistake into one of ours."""
        raise BadParameter(f"{message}. See `{self.prog} --help`.")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = Parser(prog="python -m tasks", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, parser_class=Parser)
    run = commands.add_parser("run", help="answer one input")
    kinds = run.add_subparsers(dest="task", required=True, parser_class=Parser)
    summarize = kinds.add_parser("summarize", help='continue a text after "TL;DR:"')
    summarize.add_argument("--text", help="the text; - or nothing reads standard input")
    nli = kinds.add_parser("nli", help="does the premise entail the hypothesis?")
    nli.add_argument("--premise", required=True)
    nli.add_argument("--hypothesis", required=True)
    qa = kinds.add_parser("qa", help="find the answer to a question in a passage")
    qa.add_argument("--question", required=True)
    qa.add_argument("--context", help="the passage; - or nothing reads standard input")
    classify = kinds.add_parser("classify", help="label a text")
    classify.add_argument("--text", help="the text; - or nothing reads standard input")
    evaluate = commands.add_parser("eval", help="score a file of labelled rows, or with --all everything")
    _everything(evaluate)
    scored = evaluate.add_subparsers(dest="task", parser_class=Parser)
    for name in kinds.choices:
        scored.add_parser(name)
    for name, one in kinds.choices.items():
        one.add_argument("--json", action="store_true", help="print the whole result as JSON")
        _common(name, one)
    classify.add_argument("--top-k", type=int, help="print only the best labels")
    qa.add_argument("--top-k", type=int, default=3, help="spans to print")
    for name, one in scored.choices.items():
        one.add_argument("--data", type=Path, required=True, help=".jsonl or SQuAD .json; plain, .gz or .xz")
        one.add_argument("--limit", type=int, help="read only the first rows")
        one.add_argument("--predictions", type=Path, help="write each row with its answer to this .jsonl")
        one.add_argument("--worst", type=int, default=0, metavar="N", help="add the N rows most surely answered wrong")
        one.add_argument(
            "--label-map", action="append", default=[], metavar="FILE=MODEL", help="rename a label of the file"
        )
        _common(name, one)
    bits = scored.add_parser(LANGUAGE, help="bits per byte of a text to a language model")
    bits.add_argument("--model", required=True, help="catalog name, owner/name[@revision] of the Hub, or a folder")
    bits.add_argument("--head", help="which head answers, where a model has several")
    bits.add_argument("--data", type=Path, required=True, help=".txt, or .jsonl of {text}; plain, .gz or .xz")
    bits.add_argument("--limit", type=int, help="read only the first texts")
    saliency = commands.add_parser("saliency", help="how far explanations can be trusted, over a file of rows")
    saliency.add_argument("task", choices=("nli", "classify"))
    saliency.add_argument("--model", required=True, help="catalog name, owner/name[@revision] of the Hub, or a folder")
    saliency.add_argument("--head", help="which head answers, where a model has several")
    saliency.add_argument("--data", type=Path, required=True, help=".jsonl of {text} or {premise, hypothesis}")
    saliency.add_argument("--rows", type=int, default=200, help="how many of its first rows")
    saliency.add_argument("--method", default="integrated gradients", help="or occlusion")
    saliency.add_argument("--seed", type=int, default=0, help="of the random words")
    price = commands.add_parser("precision", help="what bf16 and int8 cost in points, and gain in time")
    price.add_argument("--models", nargs="+", default=[], metavar="MODEL", help="by default all that ship")
    price.add_argument("--data", type=Path, required=True, help="the folder of data sets")
    price.add_argument("--heldout", type=Path, help="what `python -m zoo heldout` wrote")
    price.add_argument("--rows", type=int, default=2000, help="only the first rows of each file")
    many = commands.add_parser("batch", help="answer the rows of a file with one to four models")
    _batch_options(many, kinds.choices)
    commands.add_parser("figures", help="write results.csv into README and cards")
    commands.add_parser("sizes", help="bytes of the repository, of each checkpoint, and files that are too large")
    return top


def _everything(one: argparse.ArgumentParser) -> None:
    """Options of `eval --all`, under names of their own: a task has options that are called the same."""
    one.add_argument("--all", dest="every", action="store_true", help="every small model on every task, into a table")
    one.add_argument(
        "--models", dest="every_models", nargs="+", default=[], metavar="MODEL",
        help="only these: names, folders, or `baselines`; by default all that ship, and the baselines",
    )  # fmt: skip
    one.add_argument("--against", dest="every_against", nargs="+", default=[], metavar="FOLDER",
                     help="for each of --models the same weights before rounding, to see what int8 costs")  # fmt: skip
    one.add_argument(
        "--data", dest="every_data", type=Path, help="the folder of data sets; without it nothing is measured"
    )
    one.add_argument("--heldout", dest="every_heldout", type=Path, help="what `python -m zoo heldout` wrote")
    one.add_argument("--limit", dest="every_limit", type=int, default=0, help="only the first rows of each file")
    one.add_argument("--out", dest="every_out", type=Path, help="the .csv; that of the shipped checkpoints by default")
    one.add_argument("--again", dest="every_again", action="store_true", help="also what is measured already")


def _batch_options(one: argparse.ArgumentParser, tasks: Iterable[str]) -> None:
    one.add_argument("task", choices=list(tasks))
    one.add_argument("--data", type=Path, required=True, help=".csv or .tsv with a header, or .jsonl")
    one.add_argument("--model", action="append", required=True, dest="models", metavar="MODEL[#HEAD]",
                     help="catalog name, owner/name[@revision] of the Hub, or a folder; up to four times")  # fmt: skip
    one.add_argument("--gold", default="", help="the column with the right answers, where its name does not say so")
    one.add_argument("--out", type=Path, required=True, help="the .csv or .jsonl to write")


def _common(task: str, one: argparse.ArgumentParser) -> None:
    one.add_argument("--model", required=True, help="catalog name, owner/name[@revision] of the Hub, or a folder")
    one.add_argument("--head", help="which head answers, where a model has several")
    one.add_argument(
        "--precision",
        default="exact",
        help="exact (float32), fast (bf16), small (int8), or auto: the fastest on this machine; see docs/speed.md",
    )
    if task == "qa":
        one.add_argument("--max-answer-tokens", type=int, default=30)
        one.add_argument("--stride", type=int, help="tokens that neighbouring windows share")
        group = one.add_mutually_exclusive_group()
        group.add_argument("--no-answer", dest="allow_no_answer", action="store_true", default=None, help="allow it")
        group.add_argument("--always-answer", dest="allow_no_answer", action="store_false", default=None)
    if task == "summarize":
        one.add_argument("--max-new-tokens", type=int, default=60)
        one.add_argument("--temperature", type=float, default=0.0, help="0 takes the best token each time")
        one.add_argument("--top-k", type=int, default=0)
        one.add_argument("--top-p", type=float, default=1.0)
        one.add_argument("--seed", type=int, default=0)
        one.add_argument("--no-repeat", type=int, default=3, help="forbid n-grams of this size twice; 0 allows")
        one.add_argument("--prompt", default="TL;DR:")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in arguments or (arguments[:1] in (["eval"], ["batch"]) and "--all" not in arguments)
    try:
        options = vars(parser().parse_args(arguments))
        command = options.pop("command")
        if command in ("figures", "sizes"):
            return _figures() if command == "figures" else _sizes()
        if command == "batch":
            return _batch(**options)
        if command == "precision":
            return _precision(**options)
        every = {name: options.pop(name) for name in list(options) if name.startswith("every")}
        task = options.pop("task")
        if command == "eval":
            _check_eval(task, every)
        if every.get("every"):
            return _evaluate_all(every)
        model = options.pop("model")
        if command == "saliency":
            return _saliency(task, model, options)
        if task == LANGUAGE:
            return _bits(model, **options)
        return _run(task, model, options) if command == "run" else _evaluate(task, model, options)
    except BrokenPipeError:  # the reader has seen enough, as in `... | head`
        sys.stderr.close()
        return 0
    except ZooError as error:
        print(json.dumps(error.as_json(), ensure_ascii=False)) if as_json else print(error.message, file=sys.stderr)
        return 2


def _engine(precision: str) -> Engine:
    from zoo import Engine

    engine = Engine(progress=True, precision=precision)
    if precision != engine.precision:
        print(f"precision: {engine.precision}, the fastest on this machine", file=sys.stderr)
    return engine


def _run(task: str, model: str, options: dict[str, Any]) -> int:
    from tasks import TASKS, summarize

    as_json = options.pop("json")
    texts = [_text(options.pop(field), field) for field in TASKS[task].fields]
    engine = _engine(options.pop("precision"))
    if task == "summarize" and not as_json:
        shown = ""
        for result in summarize.stream(engine, model, texts[0], **options):
            print(result.answer[len(shown) :], end="", flush=True)
            shown = result.answer
        print()
        return 0
    result = TASKS[task].run(engine, model, *texts, **options)
    if as_json:
        print(json.dumps(result.as_json(), ensure_ascii=False, indent=2))
        return 0
    print(result.verdict if task != "summarize" else result.answer)
    for score in result.scores:
        print(f"  {score.score:6.1%}  {score.label}")
    for span in result.spans:
        print(f"  {span.score:6.1%}  {span.text}  [{span.start}:{span.end}]")
    for warning in result.warnings:
        print(warning, file=sys.stderr)
    return 0


def _evaluate(task: str, model: str, options: dict[str, Any]) -> int:
    from tqdm import tqdm

    from tasks.evaluate import evaluate, worst

    label_map = dict(_pair(text) for text in options.pop("label_map"))
    target, most = options.pop("predictions"), options.pop("worst")
    said: list[dict[str, Any]] = []
    with tqdm(unit="row", file=sys.stderr) as bar:
        made = evaluate(
            _engine(options.pop("precision")),
            task,
            model,
            options.pop("data"),
            label_map=label_map,
            progress=bar.update,
            predictions=said.append,
            **options,
        )
    if target is not None:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in said]
        target.write_text("".join(lines), encoding="utf-8")
    if most:
        made["worst"] = worst(said, most)
    print(json.dumps(made, ensure_ascii=False))
    return 0


def _batch(task: str, data: Path, models: list[str], gold: str, out: Path) -> int:
    """Write the rows with their answers; Ctrl-C ends the work and keeps what is done."""
    from tqdm import tqdm

    from tasks import batch, intake, scoring
    from zoo import Engine

    if out.suffix not in batch.WRITERS:
        raise BadParameter(f"--out {out.name} is neither {' nor '.join(batch.WRITERS)}.")
    if not out.parent.is_dir():  # hours of answers would have nowhere to go
        raise BadParameter(f"There is no folder {out.parent} for --out. Make it, or give another.")
    work = batch.Batch(intake.read_file(task, data, gold, most=None), tuple(map(batch.Chosen.of, models)))
    stopped = False
    with tqdm(total=len(work.sheet.rows) * len(models), unit="row", file=sys.stderr) as bar:
        try:
            for step in batch.run(Engine(progress=True), work):
                bar.set_description(step.model)
                bar.update(step.done - bar.n)
        except KeyboardInterrupt:
            stopped = True
    if work.rows:
        batch.WRITERS[out.suffix](work, out)
    print(json.dumps(scoring.summary(work), ensure_ascii=False))
    return 130 if stopped else 2 if len(work.failed) == len(models) else 0


def _check_eval(task: str | None, every: dict[str, Any]) -> None:
    """Options of --all and those of a task do not go together."""
    given = [f"--{name.removeprefix('every_')}" for name, value in every.items() if name != "every" and value]
    if every["every"] and task:
        raise BadParameter(f"--all measures every task; leave out {task!r}.")
    if not every["every"] and task is None:
        raise BadParameter(f"Name a task, or give --all. {HELP}")
    if not every["every"] and given:
        raise BadParameter(f"{', '.join(given)} stands before {task!r}: options of a task come after it. {HELP}")


def _bits(model: str, head: str | None, data: Path, limit: int | None) -> int:
    from tqdm import tqdm

    from tasks import bits
    from zoo import Engine

    with tqdm(unit="token", unit_scale=True, file=sys.stderr) as bar:
        texts = bits.texts_of(data)[:limit]
        if not texts:
            raise BadData(f"{data} has no text.")
        charged = bits.charge(Engine(progress=True).model(model), texts, head, bar.update)
    metrics = {"bits_per_byte": round(bits.ratio(charged), 4), "bytes": sum(one.bytes for one in charged)}
    print(json.dumps({"task": LANGUAGE, "model": model, "data": data.name, "rows": len(texts), "metrics": metrics}))
    return 0


def _saliency(task: str, model: str, options: dict[str, Any]) -> int:
    from tqdm import tqdm

    from tasks.saliency import measure
    from zoo import Engine

    with tqdm(unit="row", total=options["rows"], file=sys.stderr) as bar:
        print(json.dumps(measure(Engine(progress=True), task, model, progress=bar.update, **options)))
    return 0


def _precision(models: list[str], data: Path, heldout: Path | None, rows: int) -> int:
    from tqdm import tqdm

    from tasks import prices
    from zoo import catalog
    from zoo.engine.precision import WITHIN

    names = models or [row.name for row in catalog.CHECKPOINTS if row.embedded]
    with tqdm(unit="row", file=sys.stderr) as bar:
        made = prices.measure(names, data, heldout or data, rows, bar.update)
    found = prices.farthest(made)
    print(prices.table(made), prices.kept(found), sep="\n\n")
    return int(any(far > WITHIN[name] for name, far in found.items()))


def _evaluate_all(every: dict[str, Any]) -> int:
    from tqdm import tqdm

    from tasks import cards, figures, measures, sizes
    from zoo import catalog

    names = every["every_models"] or [*(row.name for row in catalog.CHECKPOINTS if row.embedded), BASELINES]
    against, limit, out = every["every_against"], every["every_limit"], every["every_out"] or figures.FILE
    models = tuple(name for name in names if name != BASELINES)
    if against and len(against) != len(models):
        raise BadParameter(f"--against needs a folder for each of the {len(models)} models; {len(against)} are given.")
    if limit and out == figures.FILE:
        raise BadParameter("--limit needs --out: the figures that ship are of whole files.")
    data = every["every_data"]
    if data is None:
        print(cards.report(figures.read(out)))
        return 0
    asked = measures.Asked(
        models, data, every["every_heldout"] or data, out, tuple(against), limit, every["every_again"],
        BASELINES in names,
    )  # fmt: skip
    with tqdm(unit="", unit_scale=True, file=sys.stderr) as bar:

        def begin(title: str, rows: int) -> None:
            bar.set_description(title)
            bar.reset(rows or None)

        rows = measures.run(asked, measures.Watcher(begin, bar.update))
    print(cards.report(rows))
    if out == figures.FILE:
        cards.write_pages()
        print("\n" + sizes.report())
    return 0


def _figures() -> int:
    from tasks import cards

    cards.write_pages()
    return 0


def _sizes() -> int:
    from tasks import sizes

    print(sizes.report())
    return 0


def _pair(text: str) -> tuple[str, str]:
    old, mark, new = text.partition("=")
    if not mark:
        raise BadParameter(f"--label-map {text!r} is not of the form FILE=MODEL.")
    return old, new


def _text(value: str | None, field: str) -> str:
    if value not in (None, "-"):
        return str(value)
    if sys.stdin.isatty():
        raise InputEmpty(f"There is no --{field}. Give one, or pipe the text in.", field=field)
    return sys.stdin.buffer.read().decode("utf-8", "replace")


if __name__ == "__main__":
    sys.exit(main())
