"""Links: what they restore, and what they refuse."""

from __future__ import annotations

import base64
import random
import string
import zlib
from urllib.parse import parse_qsl, urlencode

import pytest

from tasks import TASKS
from tasks.tabs import compare, links, menus
from tasks.tabs.page import OTHERS, TABS
from zoo.errors import BadParameter, InputTooLong

STRANGE = "äß斑马🙂 \n\t&=?#%+/\\\"'<>${}`\u202e\u200b"


def state(chance: random.Random) -> tuple:
    """A tab with a model, texts and options as a visitor might leave them."""
    tab = chance.choice(TABS)
    value = chance.choice([value for _, value in menus.menu(tab.task)])
    letters = string.ascii_letters + STRANGE + "    "
    texts = ["".join(chance.choices(letters, k=chance.randint(0, 900))) for _ in TASKS[tab.task].fields]
    shown = []
    for option in tab.options:
        if option.choices:
            shown.append(chance.choice(option.choices)[0])
        elif isinstance(option.default, str):
            shown.append("".join(chance.choices(letters, k=chance.randint(1, 60))))
        elif isinstance(option.default, float):
            shown.append(round(chance.uniform(option.low, option.high), 2))
        else:
            shown.append(chance.randint(int(option.low), int(option.high)))
    return tab, value, texts, shown


@pytest.mark.parametrize("seed", range(50))
def test_a_link_restores_everything(seed: int) -> None:
    tab, value, texts, shown = state(random.Random(seed))
    made = links.query(tab, value, texts, shown)
    assert len(made) <= links.LONG or "z=" in made
    back = links.read(TABS, OTHERS, dict(parse_qsl(made, keep_blank_values=True)))
    assert back == links.Restored(tab.task, (value, *texts, *shown))


def test_both_forms_of_a_link_are_made() -> None:
    tab = TABS[1]
    short = links.query(tab, "bert-mini", ["a", "b"], [])
    assert short == "tab=nli&model=bert-mini&premise=a&hypothesis=b"
    assert "z=" in links.query(tab, "bert-mini", ["word " * 400, "b"], [])


def test_a_text_too_long_for_a_link_is_refused() -> None:
    text = "".join(random.Random(0).choices(string.ascii_letters, k=20_000))
    with pytest.raises(InputTooLong, match="too long for a link"):
        links.query(TABS[1], "bert-mini", [text, "b"], [])


def read(**params: str) -> links.Restored:
    return links.read(TABS, OTHERS, params)


def test_a_tab_alone() -> None:
    assert read(tab="Entail") == read(tab="nli") == links.Restored("nli")
    assert read(tab="models") == links.Restored("models")
    assert read(tab="nowhere") == read() == read(__theme="dark") == links.Restored("")


def test_a_model_that_is_not_offered_is_named_and_the_texts_stay() -> None:
    made = read(tab="nli", model="/etc/passwd", premise="a", hypothesis="b")
    assert "'/etc/passwd' is not a model that this page offers" in made.trouble
    assert made.values == (None, "a", "b")


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("max_new_tokens", "9999", "1 to 200"),
        ("max_new_tokens", "1e9", "1 to 200"),
        ("temperature", "nan", "0 to 2"),
        ("temperature", "inf", "0 to 2"),
        ("seed", "-1", "0 to 9.0072e+15"),
        ("prompt", "x" * 501, "at most 500 characters"),
    ],
)
def test_options_outside_of_their_range_are_named(name: str, text: str, allowed: str) -> None:
    made = read(tab="summarize", text="a", **{name: text})
    assert f"{name} is {text[:40]!r} in the link; it may be {allowed}." in made.trouble
    option = next(one for one in TABS[0].options if one.name == name)
    assert made.values[2 + TABS[0].options.index(option)] == option.default
    with pytest.raises(BadParameter):
        option.parse(text)


@pytest.mark.parametrize("text", ["3", "-1", "x", "²", ""])
def test_a_choice_that_is_not_there(text: str) -> None:
    assert "allow_no_answer is" in read(tab="qa", question="a", context="b", allow_no_answer=text).trouble


@pytest.mark.parametrize(
    "packed",
    ["", "!", "AAAA", "eJw", base64.urlsafe_b64encode(zlib.compress(b"\xff\xfe")).decode(), "x" * 5000],
)
def test_damaged_links_say_so_and_open_their_tab(packed: str) -> None:
    assert read(tab="qa", z=packed) == links.Restored("qa", trouble="The link is damaged: a part of it is missing.")


def test_a_link_that_unpacks_to_very_much_is_refused() -> None:
    bomb = base64.urlsafe_b64encode(zlib.compress(urlencode({"tab": "nli", "premise": "a" * 10**7}).encode(), 9))
    assert len(bomb) > links.MOST or read(tab="nli", z=bomb.decode()).trouble
    small = base64.urlsafe_b64encode(zlib.compress(urlencode({"premise": "a" * 200_000}).encode(), 9)).decode()
    assert len(small) < links.MOST and "damaged" in read(tab="nli", z=small).trouble


def test_a_very_long_address_is_not_read() -> None:
    assert "longer than 8,000 characters" in read(tab="nli", premise="a" * 10**6).trouble


@pytest.mark.parametrize("seed", range(60))
def test_no_address_raises(seed: int) -> None:
    chance = random.Random(seed)
    names = ["tab", "model", "z", "premise", "text", "question", "seed", "prompt", "__theme", "x"]
    values = ["nli", "summarize", "bert-mini", "${x}", "{{x}}", "<img onerror=x>", "../..", "\x00", "9" * 400, STRANGE]
    for _ in range(10):
        links.read(TABS, OTHERS, {chance.choice(names): chance.choice(values) for _ in range(chance.randint(0, 6))})


@pytest.mark.parametrize("seed", range(30))
def test_a_link_restores_a_comparison(seed: int) -> None:
    chance = random.Random(seed)
    tab, _, texts, _ = state(chance)
    values = [value for _, value in menus.menu(tab.task)]
    models = chance.sample(values, chance.randint(0, min(4, len(values))))
    shown = [chance.randint(1, 120), round(chance.uniform(0, 2), 2), chance.randint(0, 99)]
    made = links.comparison(tab.task, models, texts, compare.OPTIONS, shown)
    back = links.read(TABS, OTHERS, dict(parse_qsl(made, keep_blank_values=True)), compare.OPTIONS)
    assert back == links.Restored("compare", (tab.task, *(*texts, "")[:2], models, *shown))


def test_a_comparison_that_is_not_offered_is_named_and_the_rest_stays() -> None:
    def read(**params: str) -> links.Restored:
        return links.read(TABS, OTHERS, {"tab": "compare", **params}, compare.OPTIONS)

    assert "'chess' is no task; choose from summarize" in read(task="chess", models="bert-mini").trouble
    made = read(task="nli", models="bert-mini,/etc/passwd,,bert-mini", premise="a", seed="-3")
    assert "'/etc/passwd' is not a model" in made.trouble and "seed is '-3'" in made.trouble
    assert made.values == ("nli", "a", "", ["bert-mini"], 40, 0.0, 0)
    many = [value for _, value in menus.menu("nli")][:6]
    assert "names 6 models; 4 fit" in read(task="nli", models=",".join(many)).trouble
    assert read() == links.Restored("compare")
