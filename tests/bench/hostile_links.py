"""Hostile links in a real browser: `python tests/bench/hostile_links.py [--links 500] [--seed 0]`.

Each link is made of the names and values that an attacker would try. It must be answered with the page, run nothing,
ask no other host, log no error; and every fifth is run as well, so that what it filled in is shown. Prints what was
found.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
TABS = ("nli", "qa", "classify", "summarize", "compare", "tokens", "batch", "models", "Entail", "nowhere", "${x}")
NAMES = (
    "model", "premise", "hypothesis", "question", "context", "text", "prompt", "seed", "temperature", "max_new_tokens",
    "top_k", "allow_no_answer", "task", "models", "lang", "z", "__theme", "__proto__", "constructor", "view",
)  # fmt: skip
VALUES = (
    "<script>window.__x=1</script>", "<img src=x onerror=window.__x=1>", "<svg onload=window.__x=1>",
    "${window.__x=1}", "{{constructor.constructor('window.__x=1')()}}", "`${window.__x=1}`", "javascript:window.__x=1",
    "\"><b onclick=x>", "</textarea><script>window.__x=1</script>", "'; DROP TABLE votes; --", "../../../../etc/passwd",
    "file:///etc/passwd", "//example.org/x", "%00%0d%0aSet-Cookie:x=1", "\x00\x01\x02", "\u202e\u200b\ufeff",
    "9" * 400, "-1", "nan", "1e999", "[]", "{}", "null", "bert-mini", "bert-mini#nothing", "bert-mini,elmo-mini",
    "nli", "zh", "dark", "a" * 3000, "斑马🙂",
)  # fmt: skip


def link(chance: random.Random) -> str:
    """One query."""
    said = {chance.choice(NAMES): chance.choice(VALUES) for _ in range(chance.randint(1, 6))}
    if chance.random() < 0.2:  # packed as the page's own long links are
        packed = base64.urlsafe_b64encode(zlib.compress(urlencode(said).encode("utf-8", "replace"))).decode()
        said = {"z": packed if chance.random() < 0.7 else packed[: chance.randrange(1, len(packed))]}
    return urlencode({"tab": chance.choice(TABS), **said}, errors="replace")


def main() -> None:
    """Open them all in one browser, and say what became of them."""
    from playwright.sync_api import sync_playwright

    from tests.app.serving import LAUNCH, serve
    from zoo import Engine

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, found, wrong = random.Random(options.seed), Counter[str](), []

    with serve(Engine()) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(**LAUNCH)
        page = browser.new_page()
        elsewhere: list[str] = []
        page.on("request", lambda asked: elsewhere.append(asked.url) if _outside(asked.url) else None)
        page.on("response", lambda said: elsewhere.append(f"{said.status} {said.url}") if said.status >= 500 else None)
        page.on("pageerror", lambda error: elsewhere.append(str(error)))
        page.on("dialog", lambda dialog: (elsewhere.append("dialog"), dialog.dismiss()))
        for number in range(options.links):
            query = link(chance)
            elsewhere.clear()
            trouble = _open(page, f"{url}?{query}", run=number % 5 == 0, found=found) + elsewhere
            if trouble:
                wrong.append({"link": query[:300], "trouble": trouble})
        browser.close()
    print(json.dumps({"links": options.links, "seed": options.seed, **found, "wrong": len(wrong)}, indent=1))
    for one in wrong[:20]:
        print(json.dumps(one, ensure_ascii=False))
    sys.exit(bool(wrong))


def _outside(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1"


def _open(page: Any, url: str, run: bool, found: Counter[str]) -> list[str]:
    """What is wrong with one link's page; counts what it shows."""
    answer = page.goto(url)
    if answer is None or answer.status != 200:
        return [f"status {answer.status if answer else None}"]
    page.locator("#tabs [role=tab][aria-selected=true]").first.wait_for()
    page.wait_for_function("document.querySelector('#nli-output .mz-result')")
    page.wait_for_timeout(100)
    if run and (pressed := _pressed(page)) is not None:
        if not pressed:
            return ["Run could not be pressed"]
        page.wait_for_timeout(400)
        found["run"] += 1
    found["told what is wrong with it"] += page.locator('[data-code="BAD_LINK"]').count() > 0
    found["filled in"] += page.get_by_text("A link filled this in").count() > 0
    return ["it ran"] if page.evaluate("window.__x") is not None else []


def _pressed(page: Any) -> bool | None:
    """Press Run, where the tab has one; on a busy machine the link's own tab comes up while the first one's button is
    aimed at."""
    from playwright.sync_api import TimeoutError as TooLate

    for _ in range(5):
        button = page.locator(".mz-run:visible")
        if not button.count():
            return None
        try:
            button.first.click(timeout=3000)
        except TooLate:
            continue
        return True
    return False


if __name__ == "__main__":
    main()
