"""Tab "Batch": many rows in, pasted or as a file, a table out, with metrics and files to take away.

A run has a waiting line of its own, so that the other tabs do not stand behind its rows; the engine lets them in
between two of its chunks. Nothing of a visitor is kept: rows live as long as their run, files in Gradio's cache until
it is swept.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from tasks import TASKS, batch, intake
from tasks.tabs import batch_views, menus, views
from tasks.tabs.asking import LIGHT, failures
from tasks.tabs.common import COUNT
from tasks.tabs.menus import choice, chosen, menu, rows
from tasks.tabs.samples import SAMPLES
from zoo import catalog
from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.engine import Engine

QUEUE: dict[str, Any] = {"concurrency_id": "batch", "concurrency_limit": 2}  # so that a short one passes a long one
ORDER = ("classify", "nli", "qa", "summarize")
HEADS = {"classify": "sentiment"}  # that the sample of a task is for, where its models have several
EVERY = 0.3  # seconds between two pictures of the progress
BY_NAME = ("Found by its name", "")
HINT = "A text a line, or cells with tabs or commas between; a header; JSON lines. At most {rows:,} rows, {size} MB."
STALE = "() => window.mzStale('batch')"


def build(engine: Engine) -> None:
    """The tab and its events. Loads no model."""
    first = ORDER[0]
    with gr.Tab("Batch", id="batch", elem_id="batch-tab"):
        gr.HTML('<p class="mz-ask">What do models say of many rows, and where do they differ?</p>')
        with gr.Row(elem_classes="mz-columns"):
            with gr.Column(min_width=300):
                task = gr.Radio([(TASKS[name].title, name) for name in ORDER], value=first, label="Task",
                                elem_id="batch-task")  # fmt: skip
                text = gr.Textbox(SAMPLES[first], label="Rows", lines=8, max_lines=8, elem_id="batch-text",
                                  info=HINT.format(rows=intake.MOST_ROWS, size=intake.MOST_BYTES // 2**20))  # fmt: skip
                file = gr.File(label="Or a file, read instead: CSV, TSV or JSONL", file_types=list(intake.ENDINGS),
                               height=110, elem_id="batch-file")  # fmt: skip
            with gr.Column(min_width=300):
                models = gr.Dropdown(menu(first), value=ready(first), label="Models", multiselect=True,
                                     max_choices=batch.MOST_MODELS, info="One to four",
                                     elem_id="batch-models", elem_classes="mz-menu")  # fmt: skip
                gold = gr.Dropdown([BY_NAME], value=BY_NAME[1], label="Column with the right answers",
                                   info="For metrics; rows may go without", elem_id="batch-gold")  # fmt: skip
                found = gr.HTML(batch_views.looked(intake.read_text(first, SAMPLES[first])), elem_id="batch-found")
                with gr.Row(elem_classes="mz-buttons"):
                    run = gr.Button("Run", variant="primary", elem_classes="mz-run", elem_id="batch-run")
                    stop = gr.Button("Stop", interactive=False, elem_id="batch-stop")
                    example = gr.Button("Example rows", elem_id="batch-example")
        output = gr.HTML(views.working("Press Run to see the answers."), elem_id="batch-output",
                         elem_classes="mz-output")  # fmt: skip
        with gr.Row(elem_classes="mz-buttons"):
            files = [gr.DownloadButton(f"Download {kind}", visible=False, size="sm", elem_id=f"batch-{kind.lower()}")
                     for kind in ("CSV", "JSONL")]  # fmt: skip
        listed = gr.HTML("", elem_id="batch-table")

        given: list[Component] = [task, text, file, gold]
        outputs: list[Component] = [output, listed, *files, stop]
        answer, end = _handlers(engine, Path(files[0].GRADIO_CACHE))
        run.click(answer, [models, *given], outputs, api_name="batch_run", api_visibility="private",
                  show_progress="full", show_progress_on=output, **QUEUE)  # fmt: skip
        stop.click(end, None, stop, api_name="batch_stop", **LIGHT)
        task.input(switch, [task, text], [text, models], api_name="batch_task", **LIGHT).then(
            look, given, [found, gold], api_name="batch_look_task", **LIGHT
        )
        example.click(fill, task, [text, file, models], api_name="batch_example", **LIGHT).then(
            look, given, [found, gold], api_name="batch_look_example", **LIGHT
        )
        gr.on([text.blur, file.change, gold.input], look, given, [found, gold], api_name="batch_look", **LIGHT)
        gr.on([task.input, models.input, file.change, gold.input], None, None, None, js=STALE, **LIGHT)


def ready(task: str) -> list[str]:
    """The menu's values of up to two models that are there already, for the sample of a task."""
    able = [row for row in rows(task) if row.embedded]
    heads = [(row, head) for row in able for head in row.tasks[task] if head == HEADS.get(task, row.tasks[task][0])]
    return [choice(row, task, head) for row, head in heads][:2]


def switch(task: str, text: str) -> tuple[Any, Any]:
    """Another task: its models, and its sample where a sample or nothing stands there."""
    filled = SAMPLES[task] if not text.strip() or text in SAMPLES.values() else gr.skip()
    return filled, gr.Dropdown(menu(task), value=ready(task))


def fill(task: str) -> tuple[Any, ...]:
    """The sample of a task, with models that know its labels; a file is taken away."""
    return SAMPLES[task], None, ready(task)


def look(task: str, text: str, file: str | None, gold: str | None) -> tuple[str, Any]:
    """What is in the rows, or why they cannot be read, and the columns to choose from."""
    try:
        sheet = _sheet(task, text, file, "")
        columns = [BY_NAME, *((batch_views.plain(name, 60), name) for name in sheet.columns)]
        kept = gold if gold in sheet.columns else BY_NAME[1]
        if kept:
            sheet = _sheet(task, text, file, kept)
        return batch_views.looked(sheet), gr.Dropdown(columns, value=kept)
    except ZooError as mistake:
        return batch_views.unreadable(mistake.message), gr.Dropdown([BY_NAME], value=BY_NAME[1])


def _sheet(task: str, text: str, file: str | None, gold: str | None) -> intake.Sheet:
    if file:
        return intake.read_file(task, Path(file), gold or "")
    return intake.read_text(task, text, gold or "")


def _handlers(engine: Engine, cache: Path) -> tuple[Callable[..., Iterator[Any]], Callable[..., Any]]:
    """Run and Stop. As on the other tabs, Stop leaves word for the run of its session, which draws the last picture."""
    asked: set[str] = set()

    def run(
        request: gr.Request, names: Sequence[str] | None, task: str, text: str, file: str | None, gold: str | None
    ) -> Iterator[Any]:
        session = str(request.session_hash)
        asked.discard(session)
        hidden = gr.DownloadButton(visible=False)
        going, over = gr.update(interactive=True), gr.update(interactive=False)
        try:
            work = batch.Batch(_sheet(task, text, file, gold), _models(task, names))
        except ZooError as mistake:
            yield _numbered(batch_views.error(mistake.message, mistake.code)), "", hidden, hidden, over
            return
        seconds, stopped, drawn = 0.0, False, -EVERY
        yield _numbered(views.working("Reading the rows …")), "", hidden, hidden, going
        with failures("batch") as wrong:
            for step in batch.run(engine, work):
                seconds = step.seconds
                if session in asked:
                    stopped = True
                    break
                if time.monotonic() - drawn >= EVERY or step.fetched is not None:
                    drawn = time.monotonic()
                    shown = batch_views.progress(step, len(work.sheet.rows))
                    if step.fetched is not None:
                        model = catalog.get(batch.Chosen.of(step.model).model)
                        shown = views.working(menus.coming(model, step.fetched))
                    yield _numbered(shown), gr.skip(), gr.skip(), gr.skip(), gr.skip()
        broken = "".join(wrong)
        if not work.rows:
            why = " ".join(f"{name}: {message}" for name, message in work.failed.items())
            nothing = batch_views.error(why) if why else views.working("Stopped before the first row was answered.")
            yield _numbered(broken or nothing), "", hidden, hidden, over
            return
        made = broken + batch_views.report(work, seconds, stopped)
        csv, jsonl = (gr.DownloadButton(value=path, visible=True) for path in _write(work, cache))
        yield _numbered(made), batch_views.table(work), csv, jsonl, over

    def stop(request: gr.Request) -> Any:
        asked.add(str(request.session_hash))
        return gr.update(interactive=False)

    return run, stop


def _models(task: str, names: Sequence[str] | None) -> tuple[batch.Chosen, ...]:
    """What the menu's values mean. Raises UnknownModel for what it does not offer."""
    return tuple(batch.Chosen(name, *chosen(task, name)) for name in names or ())


def _write(work: batch.Batch, cache: Path) -> list[str]:
    """The files to take away, in a folder of the cache that nobody can guess."""
    folder = cache / secrets.token_hex(20)
    folder.mkdir(parents=True)
    paths = []
    for ending, write in batch.WRITERS.items():
        path = folder / f"{work.sheet.task}-answers{ending}"
        write(work, path)
        paths.append(str(path))
    return paths


def _numbered(shown: str) -> str:
    return f"{shown}<!-- {next(COUNT)} -->"
