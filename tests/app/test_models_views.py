"""The HTML of the Models tab as strings: family graph, leaderboard, filters, cards."""

from __future__ import annotations

import csv
import html
import re
from dataclasses import fields, replace
from typing import get_type_hints

import pytest

from app import build_app
from tasks import figures
from tasks.figures import BASELINE
from tasks.tabs import filters, leaderboard, lineage, model_card
from tasks.tabs.plot import Point, scatter
from tests.app.fake import FakeEngine
from zoo import catalog, load
from zoo.family import Model
from zoo.lineage import SYSTEMS, checkpoints, children, get
from zoo.models.shelf import FAMILIES

GRAPH = lineage.graph()
KEYS = [system.key for system in SYSTEMS]


def test_nothing_of_the_tab_is_drawn_before_it_is_opened():
    config = str(build_app(FakeEngine()).get_config_file()["components"])
    for drawn in ('class="mz-rails', 'id="lineage-', 'data-cell="', "<tr data-name"):
        assert drawn not in config


@pytest.mark.parametrize("system", SYSTEMS, ids=KEYS)
def test_a_system_has_a_link_a_mark_and_its_edges(system):
    link = re.search(rf'<a href="#lineage-{system.key}" data-system="{system.key}" aria-label="([^"]+)"', GRAPH)
    assert html.unescape(link[1]).startswith(system.title)
    assert ("in the zoo" in link[1]) == system.built
    mark = re.search(rf'<(\w+) data-mark="{system.key}" class="([\w-]+)"', GRAPH)
    assert mark.groups() == (("rect", "mz-here") if system.built else ("circle", "mz-there"))
    edges = re.findall(rf'data-from="([\w-]+)" data-to="{system.key}"', GRAPH)
    assert edges == [parent.key for parent in system.parents]


@pytest.mark.parametrize("system", SYSTEMS, ids=KEYS)
def test_the_list_says_all_that_is_known(system):
    entry = GRAPH.partition(f'data-entry="{system.key}">')[2].partition("</article>")[0]
    said = html.unescape(entry)
    for text in (system.url, system.paper, system.idea, system.authors):
        assert text in said
    for parent in system.parents:
        assert parent.change in said
        assert f'data-system="{parent.key}"' in entry
    for child in children(system.key):
        assert f'data-system="{child.key}"' in entry
    assert set(re.findall(r'data-open="([^"]+)"', entry)) == {row.name for row in checkpoints(system)}


def test_two_systems_never_share_a_rail_at_a_time():
    """But for one that takes over its parent's where it ends."""
    rails = lineage.places()
    row = {key: i for i, key in enumerate(KEYS)}
    last = {key: max((row[child.key] for child in children(key)), default=row[key]) for key in KEYS}
    for old in KEYS:
        for young in KEYS:
            if rails[old] == rails[young] and row[old] < row[young] <= last[old]:
                assert last[old] == row[young], (old, young)
                assert old in {parent.key for parent in get(young).parents}


def test_the_rails_leave_room_for_names_on_a_phone():
    assert lineage.width() <= 130


def shown_figures(text: str) -> set[tuple[str, ...]]:
    """(task|data|metric, model, value, low, high, milliseconds, megabytes) of every row of the leaderboard."""
    found = set()
    for section in text.split("<section")[1:]:
        key = html.unescape(re.search(r'data-cell="([^"]+)"', section)[1])
        for line in re.findall(r"<tr><td>.*?</tr>", section):
            name, kind = re.search(r'<th scope="row">(.*?)<small>(.*?)</small>', line).groups()
            value, low, high = re.search(r"<b>([\d.]+)</b>(?: <small>\(([\d.]+) to ([\d.]+)\))?", line).groups()
            time, size = (re.search(rf"{part}>(?:<span[^>]*>)?(.*?)<", line)[1] for part in ("data-time", "data-size"))
            model = (BASELINE if kind == "baseline" else "") + html.unescape(name)
            found.add((key, model, *map(number, (value, low or value, high or value, time, size))))
    return found


def number(text: str) -> float:
    return 0.0 if text == "–" else float(text)


def test_the_leaderboard_shows_exactly_what_was_measured():
    with catalog.RESULTS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = ("value", "low", "high", "milliseconds", "megabytes")
    measured = {
        (f"{row['task']}|{row['data']}|{row['metric']}", row["model"], *(float(row[name]) for name in numbers))
        for row in rows
    }
    assert shown_figures(leaderboard.board()) == measured
    for part in ("command", "date", "machine"):
        assert all(html.escape(row[part], quote=False) in leaderboard.board() for row in rows)


def ranked(text: str) -> list[str]:
    return re.findall(r'<th scope="row">(.*?)<small>', text)


def test_the_leaderboard_ranks_and_judges():
    row = next(row for row in figures.read() if row.metric == "accuracy" and not row.baseline)
    rows = [
        replace(row, model="weak", value=70, low=69, high=71),
        replace(row, model=f"{BASELINE}rule", value=75, low=74, high=76),
        replace(row, model="<i>strong</i>", value=80, low=79, high=81, milliseconds=0),
    ]
    shown = leaderboard.show(rows)
    assert ranked(shown) == ["&lt;i&gt;strong&lt;/i&gt;", "rule", "weak"]
    assert "<i>" not in shown
    assert "Better than the best baseline (rule) beyond chance: &lt;i&gt;strong&lt;/i&gt;." in shown
    assert 'aria-label="no ms">–' in shown
    assert re.findall('role="img" aria-label="accuracy against (.*?):', shown) == [
        "milliseconds a text",
        "millions of parameters",
    ]
    bits = [replace(one, metric="bits_per_byte") for one in rows]
    assert ranked(leaderboard.show(bits))[0] == "weak"
    assert "Nothing was measured yet" in leaderboard.show([])


@pytest.mark.parametrize("falling", [False, True])
def test_the_better_point_is_higher_and_the_slower_one_further_right(falling):
    good, bad = (10.0, 90.0) if falling else (90.0, 10.0)
    points = [Point(1, "good", 100.0, good, good, good, False), Point(2, "bad", 2.0, bad, bad - 1, bad + 1, False)]
    drawn = scatter(points, "ms", "quality", falling)
    (x1, y1), (x2, y2) = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    assert x1 > x2
    assert y1 < y2
    assert "good" in re.search('aria-label="([^"]+)"', drawn)[1]


def test_one_value_alone_still_has_axes():
    drawn = scatter([Point(1, "one", 10.0, 50.0, 50.0, 50.0, True)], "ms", "quality")
    assert "nan" not in drawn
    assert '<rect class="mz-there"' in drawn


def test_a_menu_offers_only_what_some_checkpoint_answers_to():
    bar = filters.bar()
    menus = dict(re.findall(r'<select data-filter="(\w+)">(.*?)</select>', bar))
    assert set(menus) == {"task", "language", "kin", "licence", "size"}
    for key, options in menus.items():
        answers = {
            value
            for row in catalog.CHECKPOINTS
            for value in re.search(rf'data-{key}="([^"]*)"', filters.values(row, False))[1].split(filters.BETWEEN)
        }
        offered = set(re.findall(r'value="([^"]*)"', options)) - {""}
        assert offered <= answers, key
        assert answers <= offered, key


def test_a_model_is_ready_when_it_ships_or_is_in_memory():
    far, near = catalog.get("gpt2"), catalog.get("gpt-mini")
    assert 'data-ready=""' in filters.values(far, False)
    assert 'data-ready="yes"' in filters.values(far, True)
    assert 'data-ready="yes"' in filters.values(near, False)


def test_a_card_has_what_its_files_say():
    row = catalog.get("bert-mini")
    card = model_card.card(FakeEngine(), row)
    assert "6 layers, width 384, 12 heads of attention, vocabulary 30,522, reads 512 tokens at once" in card
    pieces = re.findall(r"<span>([^<]*)</span>", card.partition("mz-pieces")[2].partition("<small>")[0])
    assert html.unescape("".join(pieces)) == model_card.SAMPLE.replace(" ", "")
    assert f"{len(pieces)} pieces" in card
    for path in (catalog.EMBEDDED / row.source).iterdir():
        assert f"{path.name}, " in card
    assert "it leans on word overlap" in card
    assert all(parent.change in html.unescape(card) for parent in get("minilm").parents)
    assert re.findall(r'data-try="(\w+)"', card) == list(row.tasks)


def test_a_card_of_the_hub_promises_nothing_that_is_not_here():
    card = model_card.card(FakeEngine(), catalog.get("gpt2"))
    for absent in ("Network", "Tokens", "Files"):
        assert f"<dt>{absent}</dt>" not in card
    assert "see its card on the Hub" in card
    assert "Fetching 548 MB" in card


class Holding(FakeEngine):
    """An engine with one real model in memory, under another name."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._loaded[model.name] = model.bytes
        self._model = model

    def model(self, name, timings=None):
        return self._model


def test_a_model_of_the_hub_tells_more_once_it_is_in_memory():
    model = replace(load("gpt-mini"), name="gpt2", revision="0123abc")
    card = model_card.card(Holding(model), catalog.get("gpt2"))
    assert "6 layers, width 256, 8 heads of attention, vocabulary 8,195, reads 512 tokens at once" in card
    assert "mz-pieces" in card
    assert "Unload from memory" in card
    assert "0123abc" in card


def test_a_folder_of_the_user_without_a_config_has_a_card(tmp_path):
    (tmp_path / "export.pkl").write_bytes(b"x" * 2000)
    row = replace(catalog.get("ulmfit-wiki-lm"), name="mine", source=str(tmp_path), embedded=True, own=True)
    card = model_card.card(FakeEngine(), row)
    assert "export.pkl, 2.0 kB" in card
    assert "<dt>Network</dt>" not in card
    assert str(tmp_path) not in card
    assert "zoo.load(&#x27;FOLDER&#x27;)" in card


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_tells_its_layers_and_width(family):
    names = {field.name for field in fields(get_type_hints(family.read_config)["return"])}
    for word in ("layers", "width"):
        assert names & set(model_card.SIZES[word]), word


@pytest.mark.parametrize("row", catalog.CHECKPOINTS, ids=lambda row: row.name)
def test_a_snippet_is_python_that_names_what_there_is(row):
    text = model_card.snippet(row)
    compile(text, row.name, "exec")
    assert f"zoo.load({row.name!r})" in text
    task = next(iter(row.tasks), None)
    assert task is None or f"print({task}.run(zoo.Engine(), {row.name!r}, " in text


def test_the_snippet_of_a_shipped_model_runs(capsys):
    row = catalog.get("bert-mini")
    exec(compile(model_card.snippet(row), "snippet", "exec"), {})
    first, second, _ = capsys.readouterr().out.split("\n")
    assert first.startswith(f"{row.parameters} ")
    assert second in ("entailment", "neutral", "contradiction")
