"""From process start to the page's first answer, beside `import torch, gradio`: `python tests/bench/start.py [ROUNDS]`.

Both are run in turn, the first round is not counted; medians and their ratio are printed.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def imports() -> float:
    """Seconds that importing the two largest packages takes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch, gradio"], cwd=ROOT, check=True)
    return time.perf_counter() - started


def page() -> float:
    """Seconds until the page answers 200."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "app.py", "--port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while time.perf_counter() - started < 120:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    if answer.status == 200:
                        return time.perf_counter() - started
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise TimeoutError("the page did not answer within two minutes")
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    imports(), page()
    pairs = [(imports(), page()) for _ in range(rounds)]
    base, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"import torch, gradio {base:.2f} s; page answers 200 after {ours:.2f} s; ratio {ours / base:.2f}")


if __name__ == "__main__":
    main()
