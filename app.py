"""The page: `python app.py` opens it on http://127.0.0.1:7860; on a Space it runs as it stands."""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import gradio as gr

    from zoo import Engine


EXACT = "exact"  # the one precision that every processor has
ANSWERS = 1000  # of each model, that are kept for who asks the same


def build_app(engine: Engine) -> gr.Blocks:
    """The page over `engine`, ready to launch with `tasks.tabs.page.launch_options()`. Loads no model."""
    from zoo.later import uncollected

    with uncollected():
        from tasks.tabs.page import page

        return page(engine)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    on_space = "SPACE_ID" in os.environ
    options = argparse.ArgumentParser(prog="python app.py", description=__doc__)
    options.add_argument("--host", default="0.0.0.0" if on_space else "127.0.0.1", help="address to listen on")
    options.add_argument("--port", type=int, help="port to listen on (the first free one from 7860)")
    options.add_argument("--share", choices=("no", "yes"), default="no", help="make a public link through gradio.live")
    options.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="FOLDER",
        help="a checkpoint folder of your own to offer; may be given again (ZOO_MODELS names some, too)",
    )
    options.add_argument("--mcp", action="store_true", help="also serve the four tasks as tools for agents (MCP)")
    options.add_argument("--memory-mb", type=int, help="memory that models may take (half of the machine's)")
    options.add_argument(
        "--precision",
        default=EXACT,
        help="exact (float32), fast (bf16), small (int8), or auto: the fastest on this machine; see docs/speed.md",
    )
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted. The page is there before torch, whose import takes about as long as Gradio's; what the
    user chose is checked first."""
    options = parser().parse_args(arguments)
    if options.mcp and importlib.util.find_spec("mcp") is None:
        sys.exit("--mcp needs a package more: pip install 'gradio[mcp]'")
    from zoo.errors import ZooError
    from zoo.later import LateEngine

    late = LateEngine(lambda: _engine(options.memory_mb, options.precision))
    try:
        if options.model or os.environ.get("ZOO_MODELS"):
            _add_own(options.model)
        if options.memory_mb is not None or options.precision != EXACT:
            engine = late.now()
            if options.precision != engine.precision:
                print(f"Precision: {engine.precision}, the fastest on this machine")
    except ZooError as error:
        sys.exit(error.message)
    demo = build_app(cast("Engine", late))  # gradio must be imported after its settings, which tasks.tabs makes
    from tasks.tabs.page import launch_options

    demo.launch(
        prevent_thread_lock=True,
        server_name=options.host,
        server_port=options.port,
        share=options.share == "yes",
        mcp_server=options.mcp,
        **launch_options(),
    )
    late.now()
    gc.freeze()  # imports stay: no collection need look through them, which takes a tenth of a second each time
    demo.block_thread()


def _add_own(given: Sequence[str]) -> None:
    from zoo import own

    for folder in own.folders(given):
        own.add(folder)


def _engine(megabytes: int | None, precision: str) -> Engine:
    from zoo import Engine

    return Engine(megabytes * 2**20 if megabytes is not None else None, precision=precision, remember=ANSWERS)


if __name__ == "__main__":
    main()
