"""Text that commands write into pages which people write: what stands between two markers is replaced, nothing else."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import BadData


def between_markers(page: str, text: str, begin: str, end: str) -> str:
    """The page with `text` between its markers. Raises BadData when it has none."""
    before, mark, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not mark or not last:
        raise BadData(f"The page has no {begin} ... {end}.")
    return f"{before}{begin}\n{text}\n{end}{after}"


def without_folders(value: object) -> str:
    """An absolute path as its last part, anything else as it is: a page names no folder of a machine."""
    path = Path(str(value))
    return path.name if path.is_absolute() else str(value)
