"""Above the list of checkpoints: a search box, small menus, how many are left, and a button that clears them all.

What a menu offers follows from the catalog. A row carries the values that it answers to, and models.js compares.
"""

from __future__ import annotations

from collections.abc import Iterable

from tasks import TASKS
from tasks.tabs.menus import LANGUAGES
from tasks.tabs.views import esc
from zoo import catalog
from zoo.catalog import Checkpoint

SIZES = (50, 500, 1500)  # megabytes
NONE = "none"  # of a checkpoint that answers no task by itself
ALL, SOME = "All # checkpoints.", "# of ## checkpoints."  # as models.js says it
BETWEEN = "|"  # between the values of a row; no name has it


def bar() -> str:
    """The search box and the menus."""
    rows = catalog.CHECKPOINTS
    spoken = {code for row in rows for code in row.languages}
    menus = (
        _menu("task", "Task", [*((task.name, task.title) for task in TASKS.values()), (NONE, "no task by itself")]),
        _menu("language", "Language", [(code, name) for code, name in LANGUAGES.items() if code in spoken]),
        _menu("kin", "Family", [(family.name, family.title) for family in catalog.FAMILIES]),
        _menu("licence", "Licence", [(one, one) for one in sorted({licence(row) for row in rows}, key=str.lower)]),
        _menu("size", "Size", [*_sizes(), ("over", f"over {SIZES[-1]:,} MB")]),
    )
    ready = '<label class="mz-tick"><input type="checkbox" data-filter="ready" value="yes">Ready now</label>'
    return (
        '<div class="mz-filter" role="search" aria-label="Checkpoints"><label class="mz-search">Find'
        '<input type="search" placeholder="a name, a family, a task, a language …" autocomplete="off"></label>'
        f'{"".join(menus)}{ready}<button type="button" class="mz-button" data-clear hidden>Clear</button></div>'
        f'<p class="mz-found" role="status" data-all="{ALL}" data-some="{SOME}">{ALL.replace("#", str(len(rows)))}</p>'
    )


def _sizes() -> list[tuple[str, str]]:
    return [(str(size), f"up to {size:,} MB") for size in SIZES]


def _menu(key: str, title: str, choices: Iterable[tuple[str, str]]) -> str:
    options = "".join(f'<option value="{esc(value)}">{esc(text)}</option>' for value, text in choices)
    return f'<label>{title}<select data-filter="{key}"><option value="">any</option>{options}</select></label>'


def values(row: Checkpoint, loaded: bool) -> str:
    """The attributes by which a row is found."""
    answers = {
        "task": row.tasks or (NONE,),
        "language": row.languages,
        "kin": (row.family,),
        "licence": (licence(row),),
        "size": [str(size) for size in SIZES if row.megabytes <= size] or ("over",),
        "ready": ("yes",) if loaded or row.embedded else (),
    }
    return " ".join(f'data-{key}="{esc(BETWEEN.join(of))}"' for key, of in answers.items())


def licence(row: Checkpoint) -> str:
    """The licence without what is said of it in brackets."""
    return row.licence.partition(" (")[0]
