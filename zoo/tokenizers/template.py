"""Special tokens as data: `[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1` says where texts A and B and the special tokens stand, and
the segment of each. A token marked as in `<cls>:2!` stands for the whole text; without a mark it is the first one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo.contracts import Encoding, Pieces


@dataclass(frozen=True)
class Slot:
    """One place of a template: a text (`source` 0 or 1) or a special token (`source` -1 and its `token` id)."""

    source: int
    token: Any
    segment: int


@dataclass(frozen=True)
class Template:
    """The slots of one text, or of a pair; `summary` is the slot that stands for the whole text."""

    slots: tuple[Slot, ...]
    summary: int = 0

    @staticmethod
    def parse(text: str, token_id: Callable[[str], Any]) -> Template:
        """Read the notation above; `token_id` gives the id of a special token by name."""
        slots, summary = [], 0
        for index, word in enumerate(text.split()):
            summary = index if word.endswith("!") else summary
            name, _, segment = word.removesuffix("!").rpartition(":")
            source = {"A": 0, "B": 1}.get(name, -1)
            slots.append(Slot(source, token_id(name) if source < 0 else 0, int(segment)))
        return Template(tuple(slots), summary)

    @property
    def extras(self) -> int:
        """Number of special tokens."""
        return sum(slot.source < 0 for slot in self.slots)

    def assemble(self, first: Pieces, second: Pieces | None) -> Encoding:
        """Fill the slots."""
        ids: list[Any] = []
        segments: list[int] = []
        offsets: list[tuple[int, int]] = []
        sources: list[int] = []
        summary = 0
        for index, slot in enumerate(self.slots):
            summary = len(ids) if index == self.summary else summary
            if slot.source < 0:
                ids.append(slot.token)
                offsets.append((0, 0))
                count = 1
            else:
                text = first if slot.source == 0 else second
                assert text is not None, "the template of a pair needs two texts"
                ids.extend(text.ids)
                offsets.extend(text.offsets)
                count = len(text)
            segments.extend([slot.segment] * count)
            sources.extend([slot.source] * count)
        return Encoding(tuple(ids), tuple(segments), tuple(offsets), tuple(sources), summary)
