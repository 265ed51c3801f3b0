"""What travels between the stages: pieces, encodings, and the layout of batches."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
import torch

from zoo.contracts import Batch, Encoding, Group, Hidden, Pieces, Trace
from zoo.tokenizers.template import Template


def encoding(*ids: int, segments: tuple[int, ...] | None = None) -> Encoding:
    """An encoding of these ids."""
    return Encoding(ids, segments or (0,) * len(ids), ((0, 0),) * len(ids), (0,) * len(ids))


TEXTS = [encoding(1, 2, 3), encoding(4, 5, 6, segments=(0, 1, 1)), encoding(7), encoding(8, 9), encoding(10, 11, 12)]


def test_pieces_are_cut_with_their_offsets() -> None:
    pieces = Pieces((1, 2, 3), ((0, 1), (1, 4), (5, 6)))
    assert len(pieces) == 3
    assert pieces[1:] == Pieces((2, 3), ((1, 4), (5, 6)))
    assert pieces[:0] == Pieces((), ())


def test_rows_lie_text_after_text() -> None:
    batch = Batch.of(TEXTS)
    assert batch.ids.tolist() == list(range(1, 13))
    assert batch.segments.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert batch.positions.tolist() == [0, 1, 2, 0, 1, 2, 0, 0, 1, 0, 1, 2]
    assert batch.lengths == (3, 3, 1, 2, 3)
    assert {tensor.dtype for tensor in (batch.ids, batch.segments, batch.positions)} == {torch.long}


def test_first_and_last_rows() -> None:
    batch = Batch.of(TEXTS)
    assert batch.starts == (0, 3, 6, 7, 9)
    assert batch.first_rows.tolist() == [0, 3, 6, 7, 9]
    assert batch.last_rows.tolist() == [2, 5, 6, 8, 11]
    assert batch.ids[batch.first_rows].tolist() == [text.ids[0] for text in TEXTS]
    assert batch.ids[batch.last_rows].tolist() == [text.ids[-1] for text in TEXTS]


def test_neighbours_of_equal_length_are_a_group() -> None:
    """Only neighbours: the last text has the length of the first two, but does not stand beside them."""
    groups = Batch.of(TEXTS).groups
    assert groups == (Group(0, 2, 0, 3), Group(2, 1, 6, 1), Group(3, 1, 7, 2), Group(4, 1, 9, 3))
    assert sum(group.texts * group.length for group in groups) == 12


@pytest.mark.parametrize("lengths", [(1,), (5, 5, 5), (1, 2, 1, 2), (3, 3, 1, 1, 1, 3)])
def test_groups_hold_every_row_once(lengths: tuple[int, ...]) -> None:
    batch = Batch.of([encoding(*range(n)) for n in lengths])
    rows = [r for _, count, start, length in batch.groups for r in range(start, start + count * length)]
    assert rows == list(range(sum(lengths)))
    assert [g.first for g in batch.groups] == [0, *[i for i in range(1, len(lengths)) if lengths[i] != lengths[i - 1]]]


def test_split() -> None:
    """Rows of any width cut into texts."""
    batch = Batch.of(TEXTS)
    parts = list(batch.split(torch.arange(12)[:, None].expand(12, 4)))
    assert [tuple(part.shape) for part in parts] == [(3, 4), (3, 4), (1, 4), (2, 4), (3, 4)]
    assert [part[0, 0].item() for part in parts] == [0, 3, 6, 7, 9]


def test_some_texts_of_a_batch_are_a_batch() -> None:
    batch = Batch.of(TEXTS)
    rows, part = batch.only([1, 3], batch.ids * 10)
    wanted = Batch.of([TEXTS[1], TEXTS[3]])
    assert rows.tolist() == [40, 50, 60, 80, 90]
    assert part.lengths == wanted.lengths and part.sources is not None and wanted.sources is not None
    for own, other in (
        (part.ids, wanted.ids),
        (part.segments, wanted.segments),
        (part.positions, wanted.positions),
        (part.sources, wanted.sources),
    ):
        assert own.tolist() == other.tolist()
    assert replace(batch, sources=None).only([0], batch.ids)[1].sources is None


def test_continuing_goes_on_counting() -> None:
    batch = Batch.continuing([[5, 6], [7, 8], [9]], [3, 0, 10])
    assert batch.ids.tolist() == [5, 6, 7, 8, 9]
    assert batch.positions.tolist() == [3, 4, 0, 1, 10]
    assert batch.segments.tolist() == [0] * 5
    assert batch.lengths == (2, 2, 1)
    assert batch.groups == (Group(0, 2, 0, 2), Group(2, 1, 4, 1))


def test_continuing_nothing_is_reading_a_text() -> None:
    a, b = Batch.continuing([text.ids for text in TEXTS[2:]], [0, 0, 0]), Batch.of(TEXTS[2:])
    assert torch.equal(a.ids, b.ids)
    assert torch.equal(a.positions, b.positions)
    assert a.lengths == b.lengths


def test_continuing_needs_a_past_for_each_text() -> None:
    with pytest.raises(ValueError, match="zip"):
        Batch.continuing([[1], [2]], [0])


def test_device() -> None:
    """All tensors of a batch lie where they were asked for."""
    for batch in (Batch.of(TEXTS, "meta"), Batch.continuing([[1]], [0], "meta")):
        tensors = (batch.ids, batch.segments, batch.positions, batch.first_rows, batch.last_rows)
        assert {tensor.device.type for tensor in tensors} == {"meta"}


@pytest.mark.parametrize("value", [TEXTS[0], Batch.of(TEXTS), Pieces((), ()), Hidden(torch.zeros(1))])
def test_values_are_frozen(value: object) -> None:
    name = dataclasses.fields(value)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, None)


def test_traces_do_not_share_their_lists() -> None:
    Trace().layers.append(torch.zeros(1))
    assert Trace().layers == []


# Templates: where texts and special tokens stand.

SPECIAL = {"[CLS]": 101, "[SEP]": 102}
FIRST, SECOND = Pieces((7, 8), ((0, 1), (2, 5))), Pieces((9,), ((3, 4),))


def test_template_of_a_pair() -> None:
    template = Template.parse("[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1", SPECIAL.__getitem__)
    made = template.assemble(FIRST, SECOND)
    assert made.ids == (101, 7, 8, 102, 9, 102)
    assert made.segments == (0, 0, 0, 0, 1, 1)
    assert made.offsets == ((0, 0), (0, 1), (2, 5), (0, 0), (3, 4), (0, 0))
    assert made.sources == (-1, 0, 0, -1, 1, -1)
    assert template.extras == 3 == len(made) - len(FIRST) - len(SECOND)


def test_template_at_the_end() -> None:
    """Families that put their special tokens behind the texts."""
    made = Template.parse("B:3 [SEP]:3 A:0 [CLS]:2", SPECIAL.__getitem__).assemble(FIRST, SECOND)
    assert made.ids == (9, 102, 7, 8, 101)
    assert made.segments == (3, 3, 0, 0, 2)
    assert made.sources == (1, -1, 0, 0, -1)


def test_template_of_empty_texts() -> None:
    nothing = Pieces((), ())
    template = Template.parse("[CLS]:0 A:0 [SEP]:0", SPECIAL.__getitem__)
    assert template.assemble(nothing, None).ids == (101, 102)
    assert Template.parse("A:0", SPECIAL.__getitem__).assemble(nothing, None) == Encoding((), (), (), ())
