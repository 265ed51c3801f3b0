"""The endpoints: their names, their waiting line, and what they answer to mistakes. No browser."""

from __future__ import annotations

import time

import pytest

from app import build_app, parser
from tasks import TASKS
from tasks.tabs.asking import TOGETHER
from tests.app.fake import SECRET, FakeEngine
from tests.waiting import held
from zoo import catalog
from zoo.engine.line import LINE

TEXTS = {
    "summarize": {"text": "one two"},
    "nli": {"premise": "It rains.", "hypothesis": "It pours."},
    "qa": {"question": "Where?", "context": "It lies in Rome"},
    "classify": {"text": "A goal."},
}


@pytest.fixture(scope="module")
def demo():
    return build_app(FakeEngine())


@pytest.mark.parametrize(("space", "host"), [("", "127.0.0.1"), ("someone/zoo", "0.0.0.0")])
def test_a_space_listens_to_the_outside(monkeypatch, space, host):
    monkeypatch.delenv("SPACE_ID", raising=False)
    if space:
        monkeypatch.setenv("SPACE_ID", space)
    assert parser().parse_args([]).host == host
    assert parser().parse_args([]).share == "no"


@pytest.fixture(scope="module")
def client(url):
    gradio_client = pytest.importorskip("gradio_client")
    return gradio_client.Client(url, verbose=False, analytics_enabled=False)


def test_building_the_page_loads_no_model():
    engine = FakeEngine()
    build_app(engine)
    assert engine.loaded() == []


def test_all_that_ask_a_model_wait_in_one_line_and_batches_in_their_own(demo):
    queued = [event for event in demo.fns.values() if event.queue]
    own = [event for event in queued if event.api_name == "batch_run"]
    assert [(event.concurrency_id, event.concurrency_limit) for event in own] == [("batch", 2)]
    others = {(event.concurrency_id, event.concurrency_limit) for event in queued if event not in own}
    assert others == {("infer", TOGETHER)}
    light = [event.api_name for event in demo.fns.values() if not event.queue and event.fn is not None]
    stops = {"summarize_stop", "compare_stop", "batch_stop"}
    views = {"models_graph", "models_board"}
    models = {"models_pick", "models_unload", "models_show", "models_loaded", "models_open", "models_try"}
    batches = {"batch_task", "batch_example", "batch_look", "batch_look_task", "batch_look_example"}
    compared = {"compare_task", "compare_preset", "compare_vote", "compare_share"}
    examples = {f"{task}_example" for task in TASKS}
    assert set(light) == models | views | batches | compared | examples | {"open_tab", "chinese"} | stops
    assert demo._queue.max_size == 32


def test_only_the_tasks_are_public(demo):
    public = {event.api_name for event in demo.fns.values() if event.api_visibility == "public"}
    assert public == set(TASKS)


def test_the_page_stays_small(demo):
    assert len(demo.blocks) < 220
    assert len(demo.fns) < 70


@pytest.mark.parametrize("task", TASKS)
def test_an_endpoint_gives_the_stable_json(client, task):
    made = client.predict(**TEXTS[task], api_name=f"/{task}")
    assert {"task", "model", "revision", "answer", "timings", "truncated", "warnings"} <= made.keys()
    assert made["task"] == task
    assert made["model"] == catalog.by_task(task)[0].name


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", ["bert-minni", "", "/etc", "../../zoo/checkpoints/bert-mini", "someone/else", "$&{"])
def test_an_endpoint_opens_no_model_beyond_the_menu(client, engine, task, model):
    before = set(engine.loaded())
    with pytest.raises(Exception, match=r"MODEL_UNKNOWN: .*is not a model that this page offers"):
        client.predict(**TEXTS[task], model=model, api_name=f"/{task}")
    assert set(engine.loaded()) == before


def test_an_endpoint_names_the_empty_field(client):
    with pytest.raises(Exception, match="INPUT_EMPTY: The premise is empty"):
        client.predict(premise=" ", hypothesis="It pours.", api_name="/nli")


def test_an_endpoint_hides_what_broke(client):
    with pytest.raises(Exception) as caught:
        client.predict(text="CRASH", api_name="/classify")
    assert SECRET not in str(caught.value)


def test_as_many_as_the_engine_takes_ask_at_once(client, engine):
    engine.delay, engine.most_at_once = 0.05, 0
    try:
        jobs = [client.submit(text="one two three four five", api_name="/summarize") for _ in range(TOGETHER + 3)]
        assert {job.result(timeout=30)["answer"] for job in jobs} == {"one two three four five"}
    finally:
        engine.delay = 0.0
    assert 1 < engine.most_at_once <= TOGETHER


def test_requests_that_come_together_are_computed_together(real_url):
    gradio_client = pytest.importorskip("gradio_client")
    real = gradio_client.Client(real_url, verbose=False, analytics_enabled=False)
    asked = {"hypothesis": "Somebody eats.", "model": "bert-mini", "api_name": "/nli"}
    real.predict(premise="A man eats soup.", **asked)  # the model is in memory
    with held(LINE):
        before = LINE.passes
        jobs = [real.submit(premise=f"Man {number} eats soup.", **asked) for number in range(TOGETHER)]
        until = time.monotonic() + 30
        while len(LINE._jobs) < TOGETHER and time.monotonic() < until:
            time.sleep(0.01)
    assert {job.result(timeout=30)["answer"] for job in jobs} == {"entailment"}
    assert LINE.passes - before == 1
