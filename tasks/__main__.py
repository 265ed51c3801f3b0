"""`python -m tasks run TASK ...` answers one input, `python -m tasks eval TASK ...` scores a file of labelled rows,
`python -m tasks figures` measures the shipped checkpoints.

JSON alone goes to stdout, progress to stderr. A user's mistake gives exit code 2 and, with --json, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from zoo.errors import BadParameter, InputEmpty, ZooError


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
    evaluate = commands.add_parser("eval", help="score a file of labelled rows")
    scored = evaluate.add_subparsers(dest="task", required=True, parser_class=Parser)
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
        one.add_argument(
            "--label-map", action="append", default=[], metavar="FILE=MODEL", help="rename a label of the file"
        )
        _common(name, one)
    figures = commands.add_parser("figures", help="measure the shipped checkpoints and write their cards")
    figures.add_argument("--model", action="append", help="only this one; may be given again")
    figures.add_argument("--data", type=Path, help="the folder with the data sets; without it only write the pages")
    figures.add_argument("--heldout", type=Path, help="the folder that `python -m zoo heldout` wrote")
    return top


def _common(task: str, one: argparse.ArgumentParser) -> None:
    one.add_argument("--model", required=True, help="catalog name, owner/name[@revision] of the Hub, or a folder")
    one.add_argument("--head", help="which head answers, where a model has several")
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
    as_json = "--json" in arguments or arguments[:1] == ["eval"]
    try:
        options = vars(parser().parse_args(arguments))
        command = options.pop("command")
        if command == "figures":
            return _figures(**options)
        task, model = options.pop("task"), options.pop("model")
        return _run(task, model, options) if command == "run" else _evaluate(task, model, options)
    except BrokenPipeError:  # the reader has seen enough, as in `... | head`
        sys.stderr.close()
        return 0
    except ZooError as error:
        print(json.dumps(error.as_json(), ensure_ascii=False)) if as_json else print(error.message, file=sys.stderr)
        return 2


def _run(task: str, model: str, options: dict[str, Any]) -> int:
    from tasks import TASKS, summarize
    from zoo import Engine

    as_json = options.pop("json")
    texts = [_text(options.pop(field), field) for field in TASKS[task].fields]
    engine = Engine(progress=True)
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

    from tasks.evaluate import evaluate
    from zoo import Engine

    label_map = dict(_pair(text) for text in options.pop("label_map"))
    target = options.pop("predictions")
    with tqdm(unit="row", file=sys.stderr) as bar:
        lines: list[str] = []
        made = evaluate(
            Engine(progress=True),
            task,
            model,
            options.pop("data"),
            label_map=label_map,
            progress=bar.update,
            predictions=lambda row: lines.append(json.dumps(row, ensure_ascii=False)),
            **options,
        )
    if target is not None:
        target.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    print(json.dumps(made, ensure_ascii=False))
    return 0


def _figures(model: list[str] | None, data: Path | None, heldout: Path | None) -> int:
    from tasks import cards
    from zoo import Engine

    chosen = model or list(cards.MEASURES)
    strange = [name for name in chosen if name not in cards.MEASURES]
    if strange:
        raise BadParameter(f"{', '.join(strange)} is not shipped; choose from {', '.join(cards.MEASURES)}.")
    if data is not None:
        found = cards.measure(chosen, data, heldout or data, Engine(), lambda line: print(line, file=sys.stderr))
        for name, rows in found.items():
            cards.save(name, rows)
            print(cards.table(cards.read(name), commands=True))
    cards.write_pages()
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
