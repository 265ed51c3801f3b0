"""The page on a free port, and the browser that looks at it."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app import build_app

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = os.environ.get("CHROMIUM") or next((path for path in map(shutil.which, NAMES) if path), None)
ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LAUNCH: dict[str, Any] = {"args": list(ARGS)} | ({"executable_path": BROWSER} if BROWSER else {})


@contextmanager
def serve(engine: Any, **more: Any) -> Iterator[str]:
    """The address of a freshly built page over `engine`, as long as the block lasts; `more` is for its launch."""
    os.environ.setdefault("NO_PROXY", "127.0.0.1,localhost")
    demo = build_app(engine)
    from tasks.tabs.page import launch_options

    for attempt in range(3):  # Gradio gives its server five seconds to start, which a busy machine can miss
        try:
            _, url, _ = demo.launch(
                server_name="127.0.0.1",
                server_port=free_port(),
                prevent_thread_lock=True,
                quiet=True,
                **launch_options() | more,
            )
            break
        except Exception:
            if attempt == 2:
                raise
            time.sleep(1)
    try:
        yield url
    finally:
        demo.close()


def free_port() -> int:
    """A port that nobody listens to now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
