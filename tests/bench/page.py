"""How long a visitor waits for the page, for each of its tabs and for an answer, beside a bare Gradio page with as many
components of the same kinds in the same places: `python tests/bench/page.py [ROUNDS]`.

Opened in turn in a fresh tab of one browser, the first round is not counted; medians and their ratios are printed. The
page is ready when a button of its first tab can be pressed, a tab when its panel has been painted; a round trip goes
from pressing Run to the answer of bert-mini, on the bare page to a text that a function gives back. The first 200 is
counted from the start of a process, there of one that makes as many text boxes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
PAINTED = """async (id) => {
  const began = performance.now();
  document.getElementById(id + "-tab-button").click();
  while (!document.getElementById(id + "-tab")?.checkVisibility()) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""
ASKED = """async (done) => {
  const began = performance.now();
  document.getElementById("nli-run").click();
  const said = () => document.getElementById("nli-output")?.innerText ?? "";
  while (said().includes("saved result") || !said().includes(done)) await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""
EMPTY = """
import sys, gradio as gr
with gr.Blocks(analytics_enabled=False) as page:
    for _ in range(int(sys.argv[1])):
        gr.Textbox()
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[2]), quiet=True)
"""
ANSWER = "entailment"  # a label that every answer names
KEPT = ("choices", "label", "value", "lines", "elem_id", "id")  # of a component; an HTML keeps no text


def bare(demo: Any) -> Any:
    """A page of the same tree of Gradio's own components, without texts, styles and events."""
    import gradio as gr

    made: dict[str, Any] = {}

    def build(block: Any) -> None:
        kind = type(block)
        options = {key: getattr(block, key) for key in KEPT if getattr(block, key, None) is not None}
        if isinstance(block, gr.State):
            gr.State(None)
        elif isinstance(block, gr.Tabs):
            with gr.Tabs(selected=block.selected, elem_id=block.elem_id):
                children(block)
        elif isinstance(block, gr.Tab):
            with gr.Tab(block.label, id=block.id, elem_id=block.elem_id):
                children(block)
        elif isinstance(block, gr.Accordion):
            with gr.Accordion(block.label, open=False):
                children(block)
        elif isinstance(block, gr.Row):
            with gr.Row():
                children(block)
        elif isinstance(block, gr.Column):
            with gr.Column(min_width=300):
                children(block)
        elif isinstance(block, gr.HTML):
            made["answer" if block.elem_id == "nli-output" else "html"] = gr.HTML("", elem_id=block.elem_id)
        elif isinstance(block, gr.Dropdown):
            gr.Dropdown(block.choices, label=block.label, multiselect=block.multiselect)
        elif isinstance(block, gr.Radio):
            gr.Radio(block.choices, label=block.label)
        elif isinstance(block, gr.Button):
            made["run" if block.elem_id == "nli-run" else "button"] = gr.Button(str(block.value), elem_id=block.elem_id)
        elif isinstance(block, (gr.Textbox, gr.Slider, gr.Number, gr.Checkbox, gr.File, gr.DownloadButton)):
            kind(label=options.get("label"))
        elif hasattr(block, "children"):  # forms, which Gradio makes by itself
            children(block)

    def children(block: Any) -> None:
        for child in block.children:
            build(child)

    with gr.Blocks(analytics_enabled=False) as page:
        children(demo)
        made["run"].click(lambda: ANSWER, None, made["answer"])
    return page


def tabs_of(demo: Any) -> list[str]:
    """The ids of the outer tabs."""
    import gradio as gr

    outer = next(block for block in demo.children if isinstance(block, gr.Tabs))
    return [str(tab.id) for tab in outer.children]


def visit(browser: Any, url: str, tabs: list[str]) -> dict[str, float]:
    """Milliseconds until the page is ready, and of each tab, opened for the first and for the second time."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    began = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator("#nli-run").click(trial=True)
    found = {"ready": 1000 * (time.perf_counter() - began)}
    page.wait_for_timeout(500)
    found["round trip"] = page.evaluate(ASKED, ANSWER)
    page.wait_for_timeout(500)
    others = [tab for tab in tabs if tab != "nli"]
    for name in ("first", "again"):
        for tab in [*others, "nli"]:
            found[f"{tab}, {name}"] = page.evaluate(PAINTED, tab)
            page.wait_for_timeout(150)
    page.close()
    return found


def first_answer(command: list[str], port: int) -> float:
    """Milliseconds from the start of a process until it answers 200."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while time.perf_counter() - began < 120:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    if answer.status == 200:
                        return 1000 * (time.perf_counter() - began)
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise TimeoutError("the page did not answer within two minutes")
    finally:
        process.terminate()
        process.wait(20)


def starts(components: int) -> tuple[float, float]:
    """Of a bare page, and of ours."""
    from tests.app.serving import free_port

    ports = free_port(), free_port()
    return (
        first_answer(["-c", EMPTY, str(components), str(ports[0])], ports[0]),
        first_answer(["app.py", "--port", str(ports[1])], ports[1]),
    )


def main() -> None:
    """Measure and print."""
    from playwright.sync_api import sync_playwright

    from app import build_app
    from tasks.tabs.page import launch_options
    from tests.app.serving import LAUNCH, free_port
    from zoo import Engine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=7)
    parser.add_argument("--json", action="store_true", help="medians in milliseconds, [bare, ours] by what is measured")
    options = parser.parse_args()
    rounds, engine = options.rounds, Engine()
    engine.model("bert-mini")
    demo = build_app(engine)
    tabs, plain = tabs_of(demo), bare(demo)
    ends: dict[str, Any] = {"server_name": "127.0.0.1", "prevent_thread_lock": True, "quiet": True}
    _, ours, _ = demo.launch(server_port=free_port(), **ends, **launch_options())
    _, bare_url, _ = plain.launch(server_port=free_port(), ssr_mode=False, **ends)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**LAUNCH)
        runs = [(visit(browser, bare_url, tabs), visit(browser, ours, tabs)) for _ in range(rounds + 1)][1:]
        browser.close()
    plain.close()
    demo.close()
    begun = [starts(len(demo.blocks)) for _ in range(min(rounds, 4) + 1)][1:]
    columns = {"first 200": begun} | {name: [(bare[name], own[name]) for bare, own in runs] for name in runs[0][0]}
    medians = {name: [statistics.median(side) for side in zip(*pairs, strict=True)] for name, pairs in columns.items()}
    if options.json:
        print(json.dumps(medians))
        return
    print(f"{'':22}{'bare':>10}{'ours':>10}{'ratio':>8}")
    for name, (base, own) in medians.items():
        print(f"{name:22}{base:>7.0f} ms{own:>7.0f} ms{own / base:>8.2f}")


if __name__ == "__main__":
    main()
