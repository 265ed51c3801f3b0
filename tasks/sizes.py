"""How large the repository is: what a clone brings, what each checkpoint takes, and files that are too large."""

from __future__ import annotations

import subprocess
from pathlib import Path

from zoo import catalog
from zoo.errors import Unsupported

ROOT = Path(__file__).parent.parent
LARGEST = 10_000_000  # bytes of a file; the Hub wants larger ones in another store


def tracked() -> dict[Path, int]:
    """Bytes of every file that belongs to the project: those that git knows or does not ignore.

    Raises Unsupported outside of a clone.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unsupported(f"Sizes are counted in a clone of the repository ({error}).") from None
    paths = [ROOT / name for name in listed if name]
    return {path: path.stat().st_size for path in paths if path.is_file()}


def report() -> str:
    """The sizes in words."""
    sizes = tracked()
    history = sum(path.stat().st_size for path in (ROOT / ".git").rglob("*") if path.is_file())
    lines = [f"{'repository':12} {_megabytes(sum(sizes.values()))} in {len(sizes):,} files, .git {_megabytes(history)}"]
    shipped = [row for row in catalog.CHECKPOINTS if row.embedded and not row.own]
    total = 0
    for row in shipped:
        mine = sum(size for path, size in sizes.items() if catalog.EMBEDDED / row.source in path.parents)
        total += mine
        lines.append(f"{row.name:12} {_megabytes(mine)}, {catalog.family(row.family).title}")
    lines.append(f"{'together':12} {_megabytes(total)}")
    large = [f"{path.relative_to(ROOT)} ({_megabytes(size)})" for path, size in sizes.items() if size > LARGEST]
    lines.append(f"files over {LARGEST // 10**6} MB: {', '.join(large) or 'none'}")
    return "\n".join(lines)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
