"""The page: `python app.py` opens it on http://127.0.0.1:7860; on a Space it runs as it stands."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr

    from zoo import Engine


ANSWERS = 1000  # of each model, that are kept for who asks the same


def build_app(engine: Engine) -> gr.Blocks:
    """The page over `engine`, ready to launch with `tasks.tabs.page.launch_options()`. Loads no model."""
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
        "--precision", default="exact", help="exact (float32), fast (bf16) or small (int8), see docs/speed.md"
    )
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    options = parser().parse_args(arguments)
    if options.mcp and importlib.util.find_spec("mcp") is None:
        sys.exit("--mcp needs a package more: pip install 'gradio[mcp]'")
    from zoo import own
    from zoo.errors import ZooError

    try:
        for folder in own.folders(options.model):
            own.add(folder)
        engine = _engine(options.memory_mb, options.precision)
    except ZooError as error:
        sys.exit(error.message)
    demo = build_app(engine)  # gradio must be imported after its settings, which tasks.tabs makes
    from tasks.tabs.page import launch_options

    demo.launch(
        server_name=options.host,
        server_port=options.port,
        share=options.share == "yes",
        mcp_server=options.mcp,
        **launch_options(),
    )


def _engine(megabytes: int | None, precision: str) -> Engine:
    from zoo import Engine

    return Engine(megabytes * 2**20 if megabytes is not None else None, precision=precision, remember=ANSWERS)


if __name__ == "__main__":
    main()
