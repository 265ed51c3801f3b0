"""Many visitors at once: `python tests/bench/visitors.py [--visitors 30] [--rounds 6]`.

Starts the page as a process of its own. In each round every visitor asks once, all at the same moment, each another
task, model and text; before that as many requests are made one after the other. A browser presses Run in the middle of
a round and writes down what the waiting line said. Printed are errors, how long visitors waited, requests a second
together and one by one, and the memory of the process after each round, which must not grow.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
PASSAGE = "Ada Lovelace wrote the first program in 1843, for a machine that Charles Babbage never finished. " * 3
QUEUED = "() => document.querySelector('#nli-tab .progress-text, #nli-tab .meta-text')?.textContent.trim() ?? ''"


def asked(number: int) -> tuple[str, dict[str, Any]]:
    """Endpoint and arguments of a visitor's request."""
    from zoo import catalog

    task = ("nli", "qa", "classify", "summarize")[number % 4]
    able = [row for row in catalog.by_task(task) if row.embedded]
    row = able[number // 4 % len(able)]
    named: dict[str, Any] = {"model": row.name}
    if task == "nli":
        return "/nli", {"premise": f"Visitor {number} eats soup.", "hypothesis": "Somebody eats.", **named}
    if task == "qa":
        return "/qa", {"question": "Who wrote the first program?", "context": PASSAGE + str(number), **named}
    if task == "classify":
        return "/classify", {"text": f"Team {number} won the cup on Sunday.", "head": row.tasks[task][0], **named}
    return "/summarize", {"text": f"{PASSAGE} {number}", "max_new_tokens": 20, **named}


@contextmanager
def page() -> Iterator[tuple[str, int]]:
    """Address and process of the page."""
    from tests.app.serving import free_port

    url = f"http://127.0.0.1:{free_port()}/"
    command = [sys.executable, "app.py", "--port", url[:-1].rsplit(":", 1)[1]]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(20)


def resident(process: int) -> float:
    """Megabytes of memory that a process holds."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def ask(client: Any, number: int) -> tuple[float, str]:
    """Seconds until the answer, and what went wrong."""
    began = time.perf_counter()
    endpoint, named = asked(number)
    try:
        client.predict(api_name=endpoint, **named)
    except Exception as error:  # noqa: BLE001 (counted and printed)
        return time.perf_counter() - began, f"{endpoint} {named}: {error}"
    return time.perf_counter() - began, ""


def line_seen(playwright: Any, url: str) -> set[str]:
    """What the waiting line says to a browser that presses Run now, until its answer is there."""
    from tests.app.serving import LAUNCH

    browser, said = playwright.chromium.launch(**LAUNCH), set()
    page = browser.new_page()
    page.goto(url)
    page.locator("#nli-run").click()
    until = time.monotonic() + 60
    while "saved result" in page.locator("#nli-output").inner_text() and time.monotonic() < until:
        said.add(page.evaluate(QUEUED))
        page.wait_for_timeout(50)
    browser.close()
    return {one for one in said if "queue" in one}


def main() -> None:
    """Measure and print."""
    from gradio_client import Client
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    count = options.visitors
    with page() as (url, process), sync_playwright() as playwright, ThreadPoolExecutor(count) as crowd:
        clients = list(crowd.map(lambda _: Client(url, verbose=False), range(count)))
        for number in range(count):  # models come into memory
            ask(clients[0], number)
        began = time.perf_counter()
        alone = [ask(clients[number], 1000 + number) for number in range(count)]  # the page knows no answer yet
        one_by_one = count / (time.perf_counter() - began)
        print(f"one by one: {one_by_one:.1f} requests a second, {resident(process):,.0f} MB")
        said: set[str] = set()
        for turn in range(options.rounds):
            began = time.perf_counter()
            answers = [crowd.submit(ask, clients[number], 1000 * (turn + 2) + number) for number in range(count)]
            if turn == 0:
                said = line_seen(playwright, url)
            found = [one.result() for one in answers]
            together = count / (time.perf_counter() - began)
            waited = sorted(seconds for seconds, _ in found)
            wrong = [why for _, why in found if why]
            late = waited[min(count - 1, round(0.99 * count))]
            print(
                f"round {turn + 1}: {len(wrong)} errors, waited {statistics.median(waited):.2f} s in the middle and "
                f"{late:.2f} s at most, {together:.1f} requests a second, {resident(process):,.0f} MB"
            )
            for why in wrong[:3]:
                print(f"  {why[:300]}")
    print(f"errors one by one: {sum(bool(why) for _, why in alone)}; the waiting line said: {sorted(said)[:8]}")


if __name__ == "__main__":
    main()
