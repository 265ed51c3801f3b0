"""`python -m zoo bench WHAT`: the benchmarks one by one, or all of them with a verdict on each aim."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from zoo.bench import aims, decode, encoder, kept, layouts, limits, load, mixed, page, race, recurrent, serve, short
from zoo.bench.apart import Apart, Functions
from zoo.errors import BadParameter

Measure = Callable[[int, bool], tuple[list[race.Result], list[str]]]
RACES: dict[str, Measure] = {
    "encoder": encoder.measure,
    "mixed": mixed.measure,
    "decode": decode.measure,
    "recurrent": recurrent.measure,
}
ALONE: dict[str, Measure] = {"layouts": layouts.measure, "short": short.measure}  # not of `all`: no aim rests on them
WHEN = "%Y-%m-%d %H:%M:%S"
SHORT = 2.0  # seconds of `serve`, to see it work


def run(
    say: Callable[[str], object],
    what: str,
    model: str,
    rounds: int,
    as_json: bool,
    csv: Path | None,
    aims_csv: Path | None,
    plot: Path | None,
    tiny: bool,
    seconds: float,
    visitors: int,
    save: bool,
) -> int:
    """Measure, and say what came out as soon as it is there. Raises BadParameter and BadData."""
    if what == "verdicts":
        say(kept.table(kept.machines()))
        if save:
            kept.write_page()
        return 0
    if rounds < 1:
        raise BadParameter(f"--rounds is {rounds}; it must be at least 1.")
    if plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise BadParameter("--plot needs matplotlib: pip install matplotlib")
    if not 0 < seconds <= 3600 or not 1 <= visitors <= 1000:
        raise BadParameter("--seconds is above 0 and at most 3600, --visitors from 1 to 1000.")
    for path in (csv, aims_csv, plot):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise BadParameter(f"{path} cannot be written: name a file in a folder that there is.")
    runs = aims.read(aims_csv) if aims_csv is not None else {}
    if what == "load":
        return _load(say, model, rounds, as_json)
    if what == "serve":
        say(serve.table(serve.measure(visitors, SHORT if tiny else seconds, say)))
        return 0
    if what == "page":
        waits, absent = page.measure(rounds)
        say(page.table(waits) if waits else f"Not measured, since this is missing: {', '.join(absent)}.")
        return 0
    most = limits.measure(tiny)
    say(str(most))
    results: list[race.Result] = []
    missing: set[str] = set()
    for name in RACES if what == "all" else [what]:
        made, absent = (RACES | ALONE)[name](rounds, tiny)
        results += made
        missing |= set(absent)
        say("\n" + race.table(made))
        if reached := race.shares(made, most):
            say(reached + "\n")
    served, loaded, own, waits = None, [], None, {}
    if what == "all":
        # an engine computes in a thread of its own, which the helpers of this one would slow
        with closing(Apart(_of_an_engine, Path())) as fresh:
            _, served = fresh.run("serve", (visitors, SHORT if tiny else seconds), True)
            say("\n" + serve.table(served))
            _, own = fresh.run("own", (1 if tiny else 9,), True)
        if not tiny:
            loaded = [load.measure("bert-base", rounds)]
            say("\n" + load.table(loaded[0]))
            waits, absent = page.measure(max(rounds, page.ROUNDS))
            missing |= set(absent)
            say("\n" + page.table(waits))
    for name in sorted(missing):
        say(f"Not installed: {name}.")
    if found := aims.verdicts(results, loaded, served, own, most.memory, page.ratios(waits)):
        runs[datetime.now(UTC).strftime(WHEN)] = found
        say("\n" + aims.table(list(runs.values())))
        if aims_csv is not None:
            aims.write(aims_csv, runs)
    if csv is not None:
        race.write(results, csv)
    if plot is not None:
        race.draw(results, plot)
    return 0


def _of_an_engine(folder: Path) -> Functions:
    return {"serve": serve.measure, "own": decode.own}


def _load(say: Callable[[str], object], model: str, rounds: int, as_json: bool) -> int:
    results = []
    for name in load.models() if model == "all" else [model]:
        results.append(load.measure(name, rounds))
        if not as_json:
            say(load.table(results[-1]))
    if as_json:
        say(load.as_json(results))
    return 0
