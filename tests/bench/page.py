"""How long a visitor waits for the page and for each of its tabs, beside a bare Gradio page with as many components of
the same kinds in the same places: `python tests/bench/page.py [ROUNDS]`.

Opened in turn in a fresh tab of one browser, the first round is not counted; medians and their ratios are printed. The
page is ready when a button of its first tab can be pressed, a tab when its panel has been painted.
"""

from __future__ import annotations

import statistics
import sys
import time
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
KEPT = ("choices", "label", "value", "lines", "elem_id", "id")  # of a component; an HTML keeps no text


def bare(demo: Any) -> Any:
    """A page of the same tree of Gradio's own components, without texts, styles and events."""
    import gradio as gr

    made: dict[str, Any] = {}

    def build(block: Any) -> None:
        kind = type(block)
        name = kind.__name__
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
            gr.HTML("")
        elif isinstance(block, gr.Dropdown):
            gr.Dropdown(block.choices, label=block.label, multiselect=block.multiselect)
        elif isinstance(block, gr.Radio):
            gr.Radio(block.choices, label=block.label)
        elif isinstance(block, gr.Button):
            gr.Button(str(block.value), elem_id=block.elem_id)
        elif isinstance(block, (gr.Textbox, gr.Slider, gr.Number, gr.Checkbox, gr.File, gr.DownloadButton)):
            kind(label=options.get("label"))
        elif hasattr(block, "children"):  # forms, which Gradio makes by itself
            children(block)
        made[name] = made.get(name, 0) + 1

    def children(block: Any) -> None:
        for child in block.children:
            build(child)

    with gr.Blocks(analytics_enabled=False) as page:
        children(demo)
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
    others = [tab for tab in tabs if tab != "nli"]
    for name in ("first", "again"):
        for tab in [*others, "nli"]:
            found[f"{tab}, {name}"] = page.evaluate(PAINTED, tab)
            page.wait_for_timeout(150)
    page.close()
    return found


def main() -> None:
    """Measure and print."""
    from playwright.sync_api import sync_playwright

    from app import build_app
    from tasks.tabs.page import launch_options
    from tests.app.serving import LAUNCH, free_port
    from zoo import Engine

    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    demo = build_app(Engine())
    tabs, plain = tabs_of(demo), bare(demo)
    ends: dict[str, Any] = {"server_name": "127.0.0.1", "prevent_thread_lock": True, "quiet": True}
    _, ours, _ = demo.launch(server_port=free_port(), **ends, **launch_options())
    _, base, _ = plain.launch(server_port=free_port(), ssr_mode=False, **ends)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**LAUNCH)
        runs = [(visit(browser, base, tabs), visit(browser, ours, tabs)) for _ in range(rounds + 1)][1:]
        browser.close()
    print(f"{'':22}{'bare':>10}{'ours':>10}{'ratio':>8}")
    for name in runs[0][0]:
        medians = [statistics.median(run[side][name] for run in runs) for side in (0, 1)]
        print(f"{name:22}{medians[0]:>7.0f} ms{medians[1]:>7.0f} ms{medians[1] / medians[0]:>8.2f}")
    plain.close()
    demo.close()


if __name__ == "__main__":
    main()
