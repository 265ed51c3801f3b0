"""The page in Chinese: language.js looks up what is drawn, sentence by sentence, in chinese.json,
and in chinese_catalog.json what the catalog and the family graph say.

The server, the library and the API speak English only, so that what a program reads stays the same for all.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
TABLES = ("chinese.json", "chinese_catalog.json")
SCRIPT = HERE / "language.js"
CHOICE = (
    '<p class="mz-languages" role="group" aria-label="Language 语言" translate="no">'
    '<button type="button" data-speak="en" lang="en">English</button>'
    '<button type="button" data-speak="zh" lang="zh-CN">中文</button></p>'
)


@cache
def chinese() -> dict[str, str]:
    """Each sentence of the page and its translation; `{}` stands for anything, and is {1}, {2}, ... in the latter."""
    said: dict[str, str] = {}
    for name in TABLES:
        said |= json.loads((HERE / name).read_text(encoding="utf-8"))
    return said
