"""The shared inference layer: one load for many callers, a budget that holds, windows and cuts that are told."""

from __future__ import annotations

import gc
import itertools
import random
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import zoo
from tests import minis
from tests.waiting import held
from zoo import Engine
from zoo.contracts import Batch, Pieces
from zoo.engine import reasons, windows
from zoo.engine.answers import Timings
from zoo.engine.line import LINE
from zoo.errors import BadParameter, InputTooLong, OutOfMemory, UnknownModel, Unsupported
from zoo.layers.attention import KeyValues
from zoo.sampling import Sampling


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("a", "b", "c")):
        minis.bert_checkpoint(base / name, seed=seed)
    minis.gpt2_checkpoint(base / "gpt")
    return base


class Counting:
    """Opens models slowly and counts how often."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def __call__(self, name: str, progress: bool) -> zoo.Model:
        self.opened.append(name)
        time.sleep(0.2)
        return zoo.load(name)


def test_concurrent_callers_share_one_load_and_get_equal_answers(folder: Path) -> None:
    opener = Counting()
    engine = Engine(open_model=opener)
    name = str(folder / "a")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: engine.classify(name, "nli", [("one cat", "two cats")]), range(16)))
    assert opener.opened == [name]
    wanted = pytest.approx(found[0][0].probabilities, abs=1e-6)  # in one pass or another, with company or without
    assert all(answer[0].probabilities == wanted for answer in found)


def test_a_failed_load_reaches_every_waiter_and_is_tried_again(folder: Path) -> None:
    calls = []

    def broken(name: str, progress: bool) -> zoo.Model:
        calls.append(name)
        time.sleep(0.1)
        if len(calls) == 1:
            raise UnknownModel("not there")
        return zoo.load(name)

    engine = Engine(open_model=broken)
    errors: list[Exception] = []

    def ask() -> None:
        try:
            engine.model(str(folder / "a"))
        except UnknownModel as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 4
    assert len(calls) == 1
    assert engine.model(str(folder / "a")).heads


def test_a_process_that_ends_while_a_model_is_opened_ends_well() -> None:
    program = """if True:
        import time
        import torch
        from zoo.engine import Engine
        def opened(name, progress):
            for _ in range(200):
                torch.mm(torch.ones(400, 400), torch.ones(400, 400))
            raise ValueError
        Engine(open_model=opened)._store.ask("a")
        time.sleep(0.2)
    """
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_budget_drops_the_least_recently_used(folder: Path) -> None:
    names = [str(folder / n) for n in ("a", "b", "c")]
    size = zoo.load(names[0]).bytes
    engine = Engine(memory_bytes=2 * size)
    engine.model(names[0])
    engine.model(names[1])
    engine.model(names[0])  # now b is the oldest
    engine.model(names[2])
    assert [n for n, _ in engine.loaded()] == [names[0], names[2]]
    assert engine.used_bytes <= engine.memory_bytes
    assert engine.unload(names[0]) and not engine.unload(names[0])


def test_a_model_over_the_budget_is_refused_with_numbers(folder: Path) -> None:
    with pytest.raises(OutOfMemory, match="budget"):
        Engine(memory_bytes=1000).model(str(folder / "a"))


def test_results_do_not_depend_on_company_or_order(folder: Path) -> None:
    engine = Engine()
    chance = random.Random(0)
    texts = [("".join(chance.choices("abc def", k=chance.randint(1, 40))), None) for _ in range(50)]
    texts = [(text or "a", second) for text, second in texts]
    together = engine.classify(str(folder / "a"), "topic", texts)
    for text, answer in zip(texts, together, strict=True):
        alone = engine.classify(str(folder / "a"), "topic", [text])[0]
        assert alone.probabilities == pytest.approx(answer.probabilities, abs=1e-5)


def test_requests_of_all_tasks_of_a_model_are_computed_together(folder: Path) -> None:
    """Each answer is that of its own head, as if it were alone."""
    engine, name = Engine(), str(folder / "a")

    def ask(number: int) -> tuple[float, ...]:
        text = "one cat or two, " * (1 + number % 2)
        if number % 3 == 0:
            return engine.classify(name, "nli", [(text, "two cats")])[0].probabilities
        if number % 3 == 1:
            return engine.classify(name, "topic", [(text, None)])[0].probabilities
        return engine.spans(name, "qa", [("cat", text)])[0].windows[0].start

    wanted = [ask(number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        with held(LINE):
            before = LINE.passes
            asked = [pool.submit(ask, number) for number in range(6)]
            until = time.monotonic() + 30
            while len(LINE._jobs) < 6 and time.monotonic() < until:
                time.sleep(0.001)
        found = [one.result(30) for one in asked]
    assert LINE.passes - before == 1
    for one, other in zip(found, wanted, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_all_is_computed_by_one_thread(folder: Path) -> None:
    """A second one would slow it: see zoo/engine/line.py. The thread that opens a model ends."""
    threads: dict[str, set[threading.Thread]] = {"opened": set(), "computed": set(), "copied": set()}

    def opened(name: str, progress: object) -> zoo.Model:
        threads["opened"].add(threading.current_thread())
        model = zoo.load(name)
        model.network.body.register_forward_hook(lambda *_: threads["computed"].add(threading.current_thread()))
        return model

    engine, name, gpt = Engine(open_model=opened, remember=10), str(folder / "a"), str(folder / "gpt")
    engine.classify(name, "topic", [("one cat", None)])
    reasons.of_label(engine, name, "topic", ("one cat", None), "World", "occlusion")
    reasons.attention(engine, name, ("one cat", None))
    reasons.layers(engine, name, "topic", ("one cat", None))
    resumed = KeyValues.resumed
    with pytest.MonkeyPatch.context() as patch:

        def copied(self: KeyValues, *how: int) -> KeyValues:
            threads["copied"].add(threading.current_thread())
            return resumed(self, *how)

        patch.setattr(KeyValues, "resumed", copied)
        for end in ("a", "b"):
            list(engine.generate(gpt, "lm", "what a beginning of a text", end, 3, Sampling()))
    assert len(threads["computed"]) == 1 and threads["copied"] == threads["computed"]
    assert threading.main_thread() not in threads["computed"] | threads["opened"]
    for one in threads["opened"]:
        one.join(10)
        assert not one.is_alive()


def test_what_was_read_before_is_taken_up_in_the_first_pass(folder: Path) -> None:
    """In a turn of its own it would wait for several passes of others."""
    engine, gpt = Engine(remember=10), str(folder / "gpt")
    for end in ("a", "b"):
        before = LINE.passes
        tokens = len(list(engine.generate(gpt, "lm", "what a beginning of a text", end, 3, Sampling())))
        assert LINE.passes - before <= tokens, end


def test_long_texts_are_cut_and_say_so(folder: Path) -> None:
    engine = Engine()
    long = "abc " * 100
    (found,) = engine.classify(str(folder / "a"), "topic", [(long, None)])
    (read,) = found.read
    assert read.cut and read.of == 300 and read.tokens == 62  # 64 less [CLS] and [SEP]
    assert long[: read.characters].replace(" ", "") == ("abc" * 21)[:62]
    (pair,) = engine.classify(str(folder / "a"), "nli", [(long, "cab")])
    assert pair.read[0].cut and not pair.read[1].cut


@pytest.mark.parametrize(
    ("first", "second", "room", "kept"),
    [(3, 4, 10, (3, 4)), (20, 3, 10, (7, 3)), (2, 30, 10, (2, 8)), (30, 30, 11, (6, 5)), (30, 0, 10, (10, 0))],
)
def test_pairs_are_cut_longest_first(first: int, second: int, room: int, kept: tuple[int, int]) -> None:
    assert windows.cut_longest_first(first, second, room) == kept


def test_windows_cover_every_token_and_overlap_by_the_stride() -> None:
    for length in range(1, 60):
        made = list(windows.windows(length, 10, 4))
        assert made[0][0] == 0 and made[-1][1] == length
        assert all(end - begin <= 10 for begin, end in made)
        assert all(a[1] - b[0] == 4 for a, b in itertools.pairwise(made))


def test_span_windows_carry_offsets_into_the_whole_passage(folder: Path) -> None:
    passage = " ".join(f"w{i}" for i in range(60))
    (found,) = Engine().spans(str(folder / "a"), "qa", [("who?", passage)], stride=10)
    assert len(found.windows) > 1
    seen = sorted({offset for window in found.windows for offset in window.offsets})
    assert [passage[a:b] for a, b in seen] == list(passage.replace(" ", ""))
    with pytest.raises(BadParameter, match="stride"):
        Engine().spans(str(folder / "a"), "qa", [("who?", passage)], stride=63)


def test_generation_equals_a_full_pass_for_every_token(folder: Path) -> None:
    engine, name = Engine(), str(folder / "gpt")
    model = engine.model(name)
    made = list(engine.generate(name, None, "hello there", "\nTL;DR:", 12, Sampling()))
    ids = list(model.tokenizer.pieces("hello there\nTL;DR:").ids)
    with torch.inference_mode():
        for _ in range(made[-1].tokens):
            encoding = model.tokenizer.assemble(Pieces(tuple(ids), ((0, 0),) * len(ids)))
            ids.append(int(model.network(Batch.of([encoding]), "lm")[-1].argmax()))
    assert model.tokenizer.decode(ids[-made[-1].tokens :]) == made[-1].text


def test_generation_cuts_the_document_never_the_prompt(folder: Path) -> None:
    made = next(Engine().generate(str(folder / "gpt"), None, "x" * 500, "\nTL;DR:", 8, Sampling()))
    assert made.read.cut and made.read.tokens == 64 - 8 - 7
    assert made.prompt == "x" * 49 + "\nTL;DR:"


def test_generation_refuses_what_does_not_fit(folder: Path) -> None:
    engine = Engine()
    with pytest.raises(BadParameter, match="new tokens"):
        next(engine.generate(str(folder / "gpt"), None, "x", "y", 60, Sampling()))
    with pytest.raises(InputTooLong):
        next(engine.generate(str(folder / "gpt"), None, "x", "y" * 100, 8, Sampling()))
    with pytest.raises(Unsupported):
        next(engine.generate(str(folder / "a"), None, "x", "y", 8, Sampling()))


def test_heads_are_asked_for_by_kind_and_name(folder: Path) -> None:
    engine, name = Engine(), str(folder / "a")
    with pytest.raises(Unsupported, match="2 classifier heads: nli, topic"):
        engine.classify(name, None, [("a", None)])
    with pytest.raises(Unsupported, match="no classifier head named 'qa'"):
        engine.classify(name, "qa", [("a", None)])


def test_timings_name_the_stages(folder: Path) -> None:
    timings = Timings()
    Engine().classify(str(folder / "a"), "nli", [("a", "b")], timings)
    assert set(timings.seconds) == {"load", "tokenize", "forward", "decode"}
    assert all(seconds >= 0 for seconds in timings.seconds.values())


def test_an_engine_that_is_dropped_takes_its_models_along(folder: Path) -> None:
    """At once, not when Python next looks for cycles."""
    engine = Engine(remember=10)
    for _ in engine.generate(str(folder / "gpt"), "lm", "abc de", "", 3, Sampling()):
        pass
    engine.classify(str(folder / "a"), "topic", [("one cat", None)])
    networks = [weakref.ref(engine.model(str(folder / name)).network) for name in ("gpt", "a")]
    gc.collect()
    gc.disable()
    try:
        del engine
        time.sleep(0.1)  # the thread that computes lets go of what it computed last
        assert [network() for network in networks] == [None, None]
    finally:
        gc.enable()
