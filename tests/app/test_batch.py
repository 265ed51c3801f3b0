"""The tab "Batch" in a browser, over the fake engine: paste, drop a file, run, stop, compare, take away."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pytest_playwright")
from playwright.sync_api import expect

from tasks import batch, intake, scoring
from tasks.batch import Answer, Batch, Chosen
from tasks.intake import MOST_ROWS
from tasks.tabs import batch as tab
from tasks.tabs import batch_views
from tasks.tabs.samples import SAMPLES
from tests.app.conftest import still
from tests.app.fake import SECRET
from tests.app.test_hostile import HOSTILE, TEXT, unharmed

pytestmark = pytest.mark.browser
OUTPUT, TABLE, FOUND = "#batch-output", "#batch-table", "#batch-found"


@pytest.fixture
def panel(visitor: Any, url: str) -> Iterator[Any]:
    """The tab as it is on arrival."""
    visitor.goto(f"{url}?tab=batch")
    one = visitor.page.locator("#batch-tab")
    expect(one.locator("#batch-run")).to_be_visible()
    yield one


PASTE = """(field, text) => {
  field.value = text;
  field.dispatchEvent(new Event("input", {bubbles: true}));
  field.focus();
  field.blur();
}"""
LONG = "\n".join(f"text number {i}" for i in range(MOST_ROWS))


def paste(panel: Any, text: str) -> None:
    """At once, as from a clipboard; playwright's own way takes a minute for 5,000 lines."""
    panel.locator("#batch-text textarea").evaluate(PASTE, text)


def run(panel: Any) -> None:
    panel.locator("#batch-run").click()


def choose(panel: Any, *names: str) -> None:
    """Exactly these models."""
    menu = panel.locator("#batch-models")
    while menu.locator(".token-remove").count():
        menu.locator(".token-remove").first.click()
    for name in names:
        menu.locator("input").click()
        panel.page.get_by_role("option", name=name).click()
    panel.page.keyboard.press("Escape")


def upload(panel: Any, name: str, content: bytes | str) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    panel.locator("#batch-file input[type=file]").set_input_files({"name": name, "mimeType": "", "buffer": data})


def saved(panel: Any, kind: str, folder: Path) -> Path:
    with panel.page.expect_download() as waiting:
        panel.locator(f"#batch-{kind}").click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_the_first_example_runs_at_one_press_and_both_files_hold_it(panel, tmp_path):
    expect(panel.locator(FOUND)).to_contain_text("8 rows, reads text, right answers in label.")
    run(panel)
    expect(panel.locator(OUTPUT)).to_contain_text("2 models answered 8 rows.")
    expect(panel.locator(OUTPUT)).to_contain_text("bert-mini#sentiment850.0")  # all are negative to the fake
    expect(panel.locator(f"{TABLE} tbody tr")).to_have_count(8)
    expect(panel.locator(f"{TABLE} .mz-wrong")).to_have_count(2 * 4)
    expect(panel.locator("#batch-stop")).to_be_disabled()
    lines = saved(panel, "jsonl", tmp_path).read_text("utf-8").splitlines()
    assert json.loads(lines[0]) == {
        "text": "I laughed from the first scene to the last.", "label": "positive",
        "bert-mini#sentiment answer": "negative", "bert-mini#sentiment probability": 0.9,
        "gpt-mini#sentiment answer": "negative", "gpt-mini#sentiment probability": 0.9,
    }  # fmt: skip
    with saved(panel, "csv", tmp_path).open(encoding="utf-8-sig", newline="") as file:
        assert [len(row) for row in csv.reader(file)] == [6] * 9


@pytest.mark.parametrize("name", [name for name in tab.ORDER if name != "classify"])
def test_a_task_brings_its_example_and_models(panel, name):
    panel.locator("#batch-task").get_by_label(batch.TASKS[name].title).click()
    expect(panel.locator("#batch-text textarea")).to_have_value(SAMPLES[name])
    expect(panel.locator(FOUND)).to_contain_text("8 rows")
    run(panel)
    expect(panel.locator(OUTPUT)).to_contain_text("2 models answered 8 rows.")
    expect(panel.locator(f"{OUTPUT} .mz-measures tbody tr")).to_have_count(2)
    expect(panel.locator(f"{TABLE} tbody tr")).to_have_count(8)


def test_own_text_survives_another_task_and_the_example_button_takes_its_place(panel):
    paste(panel, "Mine\tto keep")
    panel.locator("#batch-task").get_by_label("Entail").click()
    expect(panel.locator(FOUND)).to_contain_text("1 row, reads premise, hypothesis, no right answers.")
    expect(panel.locator("#batch-text textarea")).to_have_value("Mine\tto keep")
    panel.locator("#batch-example").click()
    expect(panel.locator("#batch-text textarea")).to_have_value(SAMPLES["nli"])


def test_a_file_is_read_instead_of_the_text_and_its_columns_can_be_chosen(panel):
    upload(panel, "mine.csv", "text,stars,label\nA joy.,negative,x\nA bore.,positive,x\n")
    expect(panel.locator(FOUND)).to_contain_text("mine.csv: 2 rows, reads text, right answers in label.")
    run(panel)
    expect(panel.locator(OUTPUT)).to_contain_text("the model does not know: x. It knows negative, positive.")
    panel.locator("#batch-gold input").click()
    panel.page.get_by_role("option", name="stars").click()
    expect(panel.locator(FOUND)).to_contain_text("right answers in stars")
    expect(panel.locator(f"{OUTPUT} .mz-stale")).to_have_count(1)
    run(panel)
    expect(panel.locator(OUTPUT)).to_contain_text("bert-mini#sentiment250.0")


def test_rows_that_cannot_be_read_are_named_at_once_and_on_run(panel):
    upload(panel, "bad.csv", "text,label\na,b\na,b,c\n")
    said = "bad.csv, row 2 (line 3) has 3 cells; there are 2 columns: text, label."
    expect(panel.locator(FOUND)).to_contain_text(said)
    run(panel)
    expect(panel.locator(OUTPUT).get_by_role("alert")).to_contain_text(said)
    expect(panel.locator("#batch-csv")).to_have_count(0)


def test_a_bad_row_and_a_model_that_is_not_there_do_not_end_the_run(panel):
    paste(panel, 'text\tlabel\nA joy.\tpositive\n" "\tpositive\nA bore.\tnegative\n')
    choose(panel, "bert-mini · sentiment", "ULMFiT · ulmfit-book-genre")
    run(panel)
    expect(panel.locator(OUTPUT)).to_contain_text("1 model answered 3 rows.")
    expect(panel.locator(OUTPUT)).to_contain_text("ulmfit-book-genre is not on this machine")
    expect(panel.locator(f"{TABLE} tbody tr").first).to_contain_text("The text is empty.")
    choose(panel)
    run(panel)
    expect(panel.locator(OUTPUT)).to_contain_text("0 models are chosen; choose 1 to 4")


def test_rows_on_which_two_models_differ_come_first(panel, engine):
    engine.stubborn = {"bert-base-mnli"}
    try:
        panel.locator("#batch-task").get_by_label("Entail").click()
        expect(panel.locator("#batch-text textarea")).to_have_value(SAMPLES["nli"])
        paste(panel, "a\tb\nc\td\ne\tnot f\ng\th\n")
        choose(panel, "bert-mini", "bert-base-mnli ")
        run(panel)
        expect(panel.locator(OUTPUT)).to_contain_text("bert-mini and bert-base-mnli differ on 1 of 4 rows (25.0%).")
        first = panel.locator(f"{TABLE} tbody tr").first
        expect(first).to_contain_text("3differ")
        expect(first).to_contain_text("contradiction 90.0%")
        panel.locator(OUTPUT).get_by_text("bert-mini against bert-base-mnli").click()
        expect(panel.locator(f"{OUTPUT} .mz-confusion tbody tr").first).to_contain_text("contradiction")
    finally:
        engine.stubborn = set()
        engine.unload("bert-base-mnli")


def test_stop_keeps_the_rows_that_are_done_and_ends_the_work(panel, engine, tmp_path):
    paste(panel, LONG)
    engine.delay, before = 0.05, engine.rows
    try:
        run(panel)
        expect(panel.locator(OUTPUT)).to_contain_text("rows a second")
        expect(panel.locator(OUTPUT)).to_contain_text("left")
        panel.locator("#batch-stop").click()
        expect(panel.locator(OUTPUT)).to_contain_text("of 5,000 rows are answered.")
        assert still(lambda: engine.rows) < before + 1_000
    finally:
        engine.delay = 0.0
    lines = saved(panel, "jsonl", tmp_path).read_text("utf-8").splitlines()
    assert 0 < len(lines) < 1_000
    assert f"Stopped: {len(lines):,} of" in panel.locator(OUTPUT).inner_text()


def test_another_tab_answers_while_a_batch_runs(panel, browser, url, engine):
    paste(panel, LONG)
    engine.delay = 0.05
    other = browser.new_page()
    try:
        run(panel)
        expect(panel.locator(OUTPUT)).to_contain_text("rows a second")
        other.goto(f"{url}?tab=nli")
        other.locator("#nli-run").click()
        expect(other.locator("#nli-output")).to_contain_text("total")
        expect(panel.locator("#batch-stop")).to_be_enabled()
        other.goto(f"{url}?tab=batch")  # and sees nothing of the rows of another
        expect(other.locator("#batch-run")).to_be_visible()
        assert "text number" not in other.locator("#batch-tab").inner_text()
    finally:
        other.close()
        panel.locator("#batch-stop").click()
        engine.delay = 0.0
    expect(panel.locator(OUTPUT)).to_contain_text("Stopped")


def test_a_visitor_who_leaves_ends_the_work(browser, url, engine):
    page = browser.new_page()
    page.goto(f"{url}?tab=batch")
    page.locator("#batch-text textarea").evaluate(PASTE, LONG)
    engine.delay, before = 0.05, engine.rows
    try:
        page.locator("#batch-run").click()
        expect(page.locator(OUTPUT)).to_contain_text("rows a second")
        page.close()
        assert still(lambda: engine.rows) < before + 1_000
    finally:
        engine.delay = 0.0


def test_code_in_cells_headers_and_names_is_only_text(visitor, panel, url):
    turned = "\u202egpj.exe"
    rows = [{"text": f"HOSTILE {one}", f"{one} {turned}": f"{one} {turned}", "label": one} for one in HOSTILE]
    upload(panel, "<img src=x onerror=window.__x=1>${window.__x=1}.jsonl", "\n".join(map(json.dumps, rows)))
    expect(panel.locator(FOUND)).to_contain_text("7 rows")
    panel.locator("#batch-gold input").click()
    expect(panel.page.get_by_role("option", name="[U+202E]").first).to_be_visible()
    panel.page.keyboard.press("Escape")
    run(panel)
    expect(panel.locator(OUTPUT)).to_contain_text("2 models answered 7 rows.")
    shown = panel.locator(TABLE).inner_text()
    for one in HOSTILE:
        assert f"HOSTILE {one}" in shown and f"{one} [U+202E]gpj.exe" in shown
    assert "does not know" in panel.locator(OUTPUT).inner_text()
    expect(panel.locator(f":is({OUTPUT}, {TABLE}, {FOUND}) :is(img, script, svg)")).to_have_count(0)
    visitor.goto(f"{url}?tab=batch&__theme=light")
    upload(panel, "bad.csv", '"' + TEXT.replace('"', '""') + f' {turned}"\na\n')
    run(panel)
    alert = panel.locator(OUTPUT).get_by_role("alert")
    expect(alert).to_contain_text("bad.csv has no column text; it has ${window.__x=1} {{constructor}}")
    expect(alert).to_contain_text("[U+202E]gpj.exe")
    unharmed(visitor)


def test_a_mistake_of_ours_shows_an_id_and_keeps_what_is_done(panel, caplog):
    paste(panel, "\n".join([*(f"{'a long text ' * 60}{i}" for i in range(4)), "CRASH"]))
    run(panel)
    alert = panel.locator(OUTPUT).get_by_role("alert")
    expect(alert).to_contain_text("Something broke on our side.")
    expect(panel.locator(OUTPUT)).to_contain_text("of 5 rows are answered.")
    assert SECRET not in panel.page.content() and SECRET in caplog.text
    expect(panel.locator("#batch-jsonl")).to_be_visible()


def test_on_a_phone_the_table_scrolls_in_its_own_box(visitor, panel):
    visitor.page.set_viewport_size({"width": 360, "height": 740})
    try:
        run(panel)
        expect(panel.locator(f"{TABLE} tbody tr")).to_have_count(8)
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 360
        box = panel.locator(f"{TABLE} .mz-rows")
        assert box.evaluate("box => box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX == 'auto'")
    finally:
        visitor.page.set_viewport_size({"width": 1280, "height": 800})


# Without a browser


def test_at_most_200_rows_are_shown_and_what_is_wrong_among_them():
    work = Batch(intake.read_text("classify", "text\tlabel\n" + "a\tA\n" * 300), (Chosen.of("m"),))
    work.answers["m"] = [Answer("A", 0.5)] * 299 + [Answer("B", 0.5)]
    work.labels["m"] = frozenset("AB")
    shown = batch_views.table(work)
    assert shown.count("<tr") == 201 and "200 of 300 rows are shown; the files have all." in shown
    assert shown.index(">300<") < shown.index(">1<") and "then wrong ones." in shown
    assert scoring.measured(work)["m"].rows == 300


def test_files_lie_in_folders_that_nobody_can_guess(tmp_path):
    work = Batch(intake.read_text("classify", "a"), (Chosen.of("m"),))
    work.answers["m"] = [Answer("A", 0.5)]
    first, second = tab._write(work, tmp_path), tab._write(work, tmp_path)
    assert not set(first) & set(second)
    assert all(len(Path(path).parent.name) == 40 for path in first + second)


def test_every_example_is_read_with_its_right_answers():
    for name in tab.ORDER:
        sheet = intake.read_text(name, SAMPLES[name])
        assert len(sheet.rows) == 8 and sheet.gold is not None
        assert tab.ready(name)
        if name == "qa":
            assert all(row["answer"] in row["context"] for row in sheet.rows)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (12.4, "12 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")]
)
def test_durations_are_said_in_words(seconds, said):
    assert batch_views.duration(seconds) == said
