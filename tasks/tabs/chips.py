"""A row of examples to choose from, as one component: a button each, with the name and a few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import gradio as gr

from tasks.tabs.views import esc

PICK = """element.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-chip]");
  if (chip) trigger("select", {value: chip.dataset.chip});
});"""


class Named(Protocol):
    """What a chip shows."""

    @property
    def name(self) -> str:
        """Two or three words."""

    @property
    def hint(self) -> str:
        """What is special about it."""


def row(examples: Sequence[Named], elem_id: str) -> gr.HTML:
    """The chips; `select` tells which one was chosen, see `chosen`."""
    chips = "".join(
        f'<button type="button" class="mz-chip" data-chip="{number}"><b>{esc(one.name)}</b> {esc(one.hint)}</button>'
        for number, one in enumerate(examples)
    )
    return gr.HTML(f'<div class="mz-chips">{chips}</div>', js_on_load=PICK, elem_id=elem_id)


def chosen(event: gr.EventData, examples: Sequence[Any]) -> Any:
    """The example that a click was on, the first one for whatever a stranger sends."""
    number = str(getattr(event, "value", ""))
    return examples[int(number)] if number.isdecimal() and int(number) < len(examples) else examples[0]
