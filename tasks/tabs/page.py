"""The page as a whole: header, tabs, footer, and how Gradio serves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from tasks.intake import MOST_BYTES
from tasks.tabs import batch, classify, compare, language, links, models, nli, qa, summarize, tokens, views
from tasks.tabs.asking import LIGHT
from tasks.tabs.common import Built, build

if TYPE_CHECKING:
    from zoo.engine import Engine

HERE = Path(__file__).parent
TABS = (summarize.TAB, nli.TAB, qa.TAB, classify.TAB)
OTHERS = ("compare", "tokens", "batch", "models")  # tabs without a task of their own
FILLED = "A link filled this in. Run it to see the answer."
OPENS = nli.TAB.task  # a crisp verdict from the smallest model
SYSTEM = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
HEADER = f"""<header class="mz-header">{language.CHOICE}<h1>Model Zoo</h1>
<p>Pretrained language models, written from scratch in PyTorch. Ask them to judge, find, sort and sum up.</p>
</header>"""
FOOTER = '<p class="mz-footer">Nothing you type leaves this server.</p>'


def page(engine: Engine) -> gr.Blocks:
    """The whole page over an engine. Loads no model."""
    with gr.Blocks(title="Model Zoo", analytics_enabled=False, delete_cache=(3600, 86400)) as demo:
        gr.HTML(HEADER)
        with gr.Tabs(selected=OPENS, elem_id="tabs", overflow_behavior="wrap") as tabs:
            built = {tab.task: build(engine, tab) for tab in TABS}
            comparing = compare.build(engine, TABS)
            tokens.build(engine)
            batch.build(engine)
            menus = {task: one.model for task, one in built.items()}
            models.build(engine, tabs, menus, comparing.inputs)
        gr.HTML(FOOTER)
        for script in (HERE / "page.js", language.SCRIPT):
            demo.load(None, None, None, js=script.read_text(encoding="utf-8"), **LIGHT)
        gr.api(language.chinese, api_name="chinese", queue=False, api_visibility="undocumented")
        into = [part for one in built.values() for part in (*one.inputs, one.output)]
        into += [*comparing.inputs, comparing.output]
        demo.load(_opening(built, comparing), None, [tabs, *into], api_name="open_tab", **LIGHT)
    demo.queue(max_size=32)
    return demo


def _opening(built: Mapping[str, Built], comparing: compare.Built) -> Callable[[gr.Request], list[Any]]:
    """What the page's address asks for: a tab, and what stands in it."""

    def told(asked: links.Restored, here: bool) -> Any:
        """What stands where the answer will be."""
        if here and asked.trouble:
            return views.error(asked.trouble, "BAD_LINK")
        return views.working(FILLED) if here and asked.values else gr.skip()

    def opening(request: gr.Request) -> list[Any]:
        asked = links.read(TABS, OTHERS, dict(request.query_params), compare.OPTIONS)
        made: list[Any] = [gr.Tabs(selected=asked.tab) if asked.tab else gr.skip()]
        for task, one in built.items():
            here = task == (asked.tab or OPENS)
            values = asked.values if here and asked.values else (gr.skip(),) * len(one.inputs)
            made += [gr.skip() if value is None else value for value in values]
            made.append(told(asked, here))
        here = asked.tab == links.COMPARE
        made += compare.as_asked(*asked.values) if here and asked.values else (gr.skip(),) * len(comparing.inputs)
        made.append(told(asked, here))
        return made

    return opening


def theme() -> gr.themes.Base:
    """One accent, system fonts: nothing is fetched from elsewhere."""
    return gr.themes.Base(primary_hue="teal", neutral_hue="slate", radius_size="md", font=SYSTEM, font_mono=MONO).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
        block_padding="0px",
        block_border_width="0px",
        block_shadow="none",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        input_background_fill="white",
        input_background_fill_dark="*neutral_900",
        input_border_width="1px",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )


def launch_options() -> dict[str, Any]:
    """How the page is served, wherever it is launched from."""
    return {
        "theme": theme(),
        "css_paths": [HERE / name for name in ("style.css", "why.css", "compare.css", "models.css")],
        "ssr_mode": False,
        "show_error": False,
        "max_file_size": MOST_BYTES,
        "allowed_paths": [],
        "state_session_capacity": 500,
        "enable_monitoring": False,
        "run_history": False,
        "footer_links": ["api", "settings"],
    }
