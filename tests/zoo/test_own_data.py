"""A user's own rows: what is wrong with them is said by number, and what is right with them is learnt and loaded."""

from __future__ import annotations

import csv
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from tasks import classify, nli, qa
from tests import minis, tiny_data
from zoo import catalog, own
from zoo.__main__ import main
from zoo.contracts import HeadSpec
from zoo.errors import BadData, BadParameter, Unsupported
from zoo.training import finetune, own_data, own_rows
from zoo.training.recipes import Run

TEAMS = {"red": ("rose", "blood", "ruby"), "blue": ("sky", "sea", "ink"), "green": ("leaf", "moss", "fern")}


def colours(count: int) -> list[dict[str, str]]:
    """Rows whose label follows from one word."""
    chance = random.Random(1)
    labels = [chance.choice(sorted(TEAMS)) for _ in range(count)]
    return [{"text": f"{chance.choice(TEAMS[label])} {chance.choice('abc')}", "label": label} for label in labels]


def table(path: Path, rows: list[dict[str, str]], separator: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)
    return path


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def qa_rows(count: int) -> list[dict[str, Any]]:
    """A marked word is the answer."""
    chance = random.Random(2)
    contexts = ["ab " * chance.randrange(5) + "zz" + " cd" * chance.randrange(1, 4) for _ in range(count)]
    return [{"question": "q", "context": context, "answer": "zz"} for context in contexts]


def learn(monkeypatch: pytest.MonkeyPatch, command: list[object], epochs: int = 30, rate: float = 5e-3) -> None:
    """Run the command line; a network of two layers wants larger steps than real ones."""
    monkeypatch.setattr(own_data, "EPOCHS", (epochs, epochs))
    method = own_data.Method(rate=rate, head=1.0)
    monkeypatch.setattr(own_data, "METHODS", dict.fromkeys(own_data.METHODS, method))
    monkeypatch.setattr(own_data, "PATIENCE", epochs)
    torch.set_num_threads(1)
    assert main(["train", *map(str, command)]) == 0


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A tiny BERT without any head that fits."""
    return minis.bert_checkpoint(tmp_path / "start", {"pooled": HeadSpec("pooled")})


def test_two_hundred_rows_are_learnt_to_perfection(
    tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = colours(200), tmp_path / "colours"
    command = ["classify", "--data", table(tmp_path / "c.csv", rows), "--from", start, "--out", out]
    learn(monkeypatch, command, epochs=60, rate=1.5e-3)  # at 5e-3 two seeds of five never told two labels apart
    said = capsys.readouterr()
    assert said.out.startswith("classify: accuracy 100.00, macro F1 100.00; ") and said.out.count("\n") == 1
    assert "rows by label: " in said.err and "180 rows to learn from, 20 to watch by" in said.err
    folder = out / "checkpoint"
    answers = classify.run_many(zoo.Engine(), str(folder), [row["text"] for row in rows])
    assert [one.answer for one in answers] == [row["label"] for row in rows]
    card = (folder / "README.md").read_text()
    for wanted in ("c.csv", "180 rows", "accuracy | 100.0", "seed 0", "train classify --data", "blue, green, red"):
        assert wanted in card
    for text in (card, (folder / "config.json").read_text()):  # which may be published
        assert str(tmp_path) not in text
    row = own.row_of(folder)
    assert (row.name, row.tasks, row.family) == ("colours", {"classify": ("classify",)}, "bert")


def test_pairs_and_questions_are_learnt_too(
    tmp_path: Path, start: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [
        {"premise": "ab", "hypothesis": word, "label": label}
        for word, label in (("xx", "Entailment"), ("yy", "contradiction"))
        for _ in range(30)
    ]
    data = table(tmp_path / "pairs.tsv", pairs, "\t")
    learn(monkeypatch, ["nli", "--data", data, "--from", start, "--out", tmp_path / "n"], epochs=10)
    engine = zoo.Engine()
    assert nli.run(engine, str(tmp_path / "n/checkpoint"), "ab", "yy").answer == "contradiction"
    packed = tmp_path / "q.jsonl.gz"
    packed.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in qa_rows(100)).encode()))
    learn(monkeypatch, ["qa", "--data", packed, "--from", start, "--out", tmp_path / "q"], epochs=20)
    assert "exact span 100.00" in capsys.readouterr().out
    found = qa.run(engine, str(tmp_path / "q/checkpoint"), "q", "ab ab zz cd")
    assert found.answer == "zz"
    assert not own.row_of(tmp_path / "q/checkpoint").unanswerable


def test_squads_own_form_is_read_with_its_unanswerable_questions(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(tiny_data.squad(random.Random(0), 2, refused=1)))
    rows = own_rows.read(path, "qa")
    assert len(rows) == 24 and sum(not row["answers"]["text"] for row in rows) == 8


def test_a_killed_run_on_own_rows_goes_on_to_the_same_weights(tmp_path: Path, start: Path) -> None:
    data = lines(tmp_path / "c.jsonl", colours(60))
    straight = Run(data, tmp_path / "straight", source=str(start))
    own_data.classify(straight)
    seen = []
    whole = finetune.loss_of

    class Killed(BaseException):
        pass

    def counted(*given: Any) -> Any:
        seen.append(1)
        if len(seen) == 12:
            raise Killed
        return whole(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune, "loss_of", counted)
        patch.setattr(own_data, "SNAPSHOT_SECONDS", 0)
        with pytest.raises(Killed):
            own_data.classify(Run(data, tmp_path / "killed", source=str(start)))
    own_data.classify(Run(data, tmp_path / "killed", source=str(start), resume=True))
    first, second = (zoo.load(tmp_path / name / "checkpoint") for name in ("straight", "killed"))
    for name, parameter in first.network.named_parameters():
        assert torch.equal(parameter, second.network.get_parameter(name)), name


def test_a_head_that_knows_the_labels_already_is_gone_on_with_and_a_pooler_is_kept(tmp_path: Path, start: Path) -> None:
    method, gpt2 = own_data.METHODS["bert"], own_data.METHODS["gpt2"]
    model = zoo.load(start)
    spec = HeadSpec("classifier", ("a", "b"))
    made = own_data.network_from(model, model.config, "classify", spec, method)
    pooler = model.network.heads["pooled"].state_dict()
    assert all(torch.equal(v, pooler[k]) for k, v in made.heads["classify"].pooler.state_dict().items())
    full = zoo.load(minis.bert_checkpoint(tmp_path / "full"))
    again = own_data.network_from(full, full.config, "classify", full.heads["topic"], method)
    before = full.network.heads["topic"].state_dict()
    assert all(torch.equal(v, before[k]) for k, v in again.heads["classify"].state_dict().items())
    assert all(torch.equal(v, full.network.body.state_dict()[k]) for k, v in again.body.state_dict().items())
    with pytest.raises(Unsupported, match=r"features.*Choose another --from"):
        other = zoo.load(minis.gpt2_checkpoint(tmp_path / "g"))
        own_data.network_from(other, other.config, "x", HeadSpec("features"), gpt2)


def test_each_family_is_trained_its_own_way(tmp_path: Path) -> None:
    network = zoo.load(minis.bert_checkpoint(tmp_path)).network
    half = own_data.Method(lambda body: [body.embeddings, *body.blocks], 1e-3, head=2.0, lower=2.0)
    groups = own_data.groups_of(network, "topic", half, 10**6)
    assert [group["lr"] for group in groups] == [2e-3, 1e-3, 5e-4, 2.5e-4]
    assert groups[-1]["params"][0] is network.body.embeddings.word.weight
    (head,) = own_data.groups_of(network, "topic", own_data.METHODS["elmo"], 10**6)
    assert not any(p.requires_grad for p in network.body.parameters()) and len(head["params"]) == 4
    sizes = [own_data.groups_of(network, "topic", own_data.METHODS["bert"], n)[1]["lr"] for n in (10**5, 110 * 10**6)]
    assert sizes == [5e-4, 5e-5]
    assert set(own_data.METHODS) == {family.name for family in catalog.FAMILIES}


def test_layers_are_unfrozen_one_after_the_other_and_rates_slant() -> None:
    factor = own_data.gradually(steps=100, in_epoch=10, groups=3)
    assert [sum(factor(step, group) > 0 for group in range(3)) for step in (0, 9, 10, 19, 20, 99)] == [1, 1, 2, 2, 3, 3]
    rates = [factor(step, 0) for step in range(100)]
    assert max(rates) == rates[9] == 1.0 and rates[99] == pytest.approx(1 / 32 + 31 / 32 / 90)
    quick = own_data.gradually(steps=12, in_epoch=10, groups=3)
    assert all(quick(6, group) > 0 for group in range(3))


def says(path: Path, task: str) -> str:
    with pytest.raises(BadData) as caught:
        own_data.fit(Run(path, path.parent / "never"), task)
    return caught.value.message


def test_wrong_rows_are_named_by_number(tmp_path: Path) -> None:
    good = colours(20)
    bad = [*good[:2], {"text": " ", "label": "red"}, {"text": "x", "label": ""}, *good[2:]]
    said = says(table(tmp_path / "a.csv", bad), "classify")
    assert "2 of 22 rows" in said and "row 3: text is empty" in said and "row 4: label is missing" in said
    assert "row 2: text is missing" in says(lines(tmp_path / "b.jsonl", [good[0], {"label": "red"}]), "classify")
    pair = {"premise": "a", "hypothesis": "b", "label": "yes"}
    assert "row 1: label 'yes' is none of entailment" in says(lines(tmp_path / "c.jsonl", [pair]), "nli")
    row = {"question": "q", "context": "abc", "answer": "z"}
    assert "row 1: the answer 'z' does not stand in its context" in says(lines(tmp_path / "d.jsonl", [row]), "qa")
    row |= {"answer": "b", "answer_start": 2}
    assert "does not stand at its answer_start" in says(lines(tmp_path / "e.jsonl", [row]), "qa")
    row |= {"answer_start": "two"}
    assert "answer_start 'two' is no whole number" in says(lines(tmp_path / "f.jsonl", [row]), "qa")
    many = says(lines(tmp_path / "g.jsonl", [{"text": "", "label": "a"}] * 30), "classify")
    assert "30 of 30 rows" in many and "and 20 more" in many


def test_files_that_cannot_be_learnt_from_are_refused_in_words(tmp_path: Path) -> None:
    assert "has no rows" in says(lines(tmp_path / "a.jsonl", []), "classify")
    one = [{"text": "a", "label": "x"}] * 20
    assert "All 20 rows of b.csv have the label 'x'" in says(table(tmp_path / "b.csv", one), "classify")
    once = [*one, {"text": "b", "label": "y"}]
    assert "only one row with the label 'y'" in says(table(tmp_path / "c.csv", once), "classify")
    few = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}] * 2
    assert "only 4 rows; 8 is the least" in says(table(tmp_path / "d.csv", few), "classify")
    named = table(tmp_path / "e.csv", [{"texts": "a", "label": "x"}] * 9)
    assert "no column text; it has texts, label" in says(named, "classify") and "'texts'?" in says(named, "classify")
    (tmp_path / "f.csv").write_text("")
    assert "f.csv has no rows" in says(tmp_path / "f.csv", "classify")
    (tmp_path / "g.csv").write_bytes("text,label\nstraße,x\n".encode("latin-1"))
    assert "not written in UTF-8: line 2 has the byte 0xdf" in says(tmp_path / "g.csv", "classify")
    (tmp_path / "h.xlsx").write_text("")
    assert "neither .csv, .tsv, .jsonl" in says(tmp_path / "h.xlsx", "classify")
    (tmp_path / "i.json").write_text("[]")
    assert "SQuAD's format" in says(tmp_path / "i.json", "qa")


def test_labels_of_the_dev_file_must_be_known(tmp_path: Path) -> None:
    data, dev = lines(tmp_path / "a.jsonl", colours(20)), lines(tmp_path / "b.jsonl", [{"text": "a", "label": "pink"}])
    with pytest.raises(BadData, match=r"b.jsonl has labels that --data has not: pink"):
        own_data.classify(Run(data, tmp_path / "never", dev=dev))


def test_rows_are_split_by_label_the_same_way_for_the_same_seed() -> None:
    rows = [{"text": str(i), "label": "often" if i % 20 else "seldom"} for i in range(200)]
    train, dev = own_rows.split(rows, 3)
    assert (train, dev) == own_rows.split(rows, 3) != own_rows.split(rows, 4)
    assert len(dev) == 20 and sum(row["label"] == "seldom" for row in dev) == 1
    assert sorted(r["text"] for r in train + dev) == sorted(r["text"] for r in rows)
    assert "'often' has 19 times as many rows as 'seldom'" in own_rows.balance(rows)


def test_cells_are_read_as_they_are_spelled(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\ufeffText,Label\nnull,01\nNA,1\n", encoding="utf-8")
    assert own_rows.read(path, "classify") == [{"text": "null", "label": "01"}, {"text": "NA", "label": "1"}]


def test_macro_f1_and_overlap_are_those_of_the_textbook() -> None:
    from sklearn.metrics import f1_score

    said, wanted = [0, 1, 1, 2, 0, 0], [0, 1, 0, 2, 2, 0]
    assert own_data._macro_f1(said, wanted) == pytest.approx(f1_score(wanted, said, average="macro"))
    assert own_data._overlap((3, 5), (5, 6)) == pytest.approx(2 * 1 / (3 + 2))
    assert own_data._overlap((3, 5), (7, 8)) == own_data._overlap((5, 3), (3, 5)) == 0.0


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["train", *map(str, words)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    return said.err


def test_misuse_of_the_command_line_is_answered_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, rows = tiny_data.write(tmp_path / "data"), lines(tmp_path / "a.jsonl", colours(20))
    start, out = minis.gpt2_checkpoint(tmp_path / "gpt2"), tmp_path / "out"
    assert "Did you mean 'bert-mini'" in refusal(capsys, "bert-mimi", "--data", data)
    assert "--data is missing" in refusal(capsys, "classify")
    assert "is a folder. classify reads a CSV" in refusal(capsys, "classify", "--data", data)
    assert "does not exist" in refusal(capsys, "classify", "--data", tmp_path / "nothing.csv")
    assert "is a file. bert-mini reads" in refusal(capsys, "bert-mini", "--data", rows)
    assert "has no lm below it" in refusal(capsys, "gpt-lm", "--data", tmp_path)
    assert "--dev is for" in refusal(capsys, "gpt-lm", "--data", data, "--dev", rows)
    assert "--soft is for" in refusal(capsys, "classify", "--data", rows, "--soft", data)
    assert "--soft" in refusal(capsys, "bert-mini", "--data", data, "--soft", rows)
    assert "--scale is 0.0" in refusal(capsys, "classify", "--data", rows, "--scale", 0)
    assert "--threads is 0" in refusal(capsys, "classify", "--data", rows, "--threads", 0)
    assert "must be cpu or cuda" in refusal(capsys, "classify", "--data", rows, "--device", "tpu")
    assert "is not in the zoo" in refusal(capsys, "classify", "--data", rows, "--from", "bert-mimi")
    family = refusal(capsys, "bert-mini", "--data", data, "--from", start)
    assert "is of the family GPT-2; bert-mini goes on from BERT only" in family
    assert "There is no run to resume" in refusal(capsys, "classify", "--data", rows, "--out", out, "--resume")
    out.mkdir()
    (out / "run.json").write_text('{"recipe": "nli", "seed": 0}')
    assert "holds a run already" in refusal(capsys, "classify", "--data", rows, "--out", out)
    other = refusal(capsys, "classify", "--data", rows, "--out", out, "--resume")
    assert "recipe was 'nli', now 'classify'" in other
    assert "is a file. Give a folder" in refusal(capsys, "classify", "--data", rows, "--out", rows)
    if not torch.cuda.is_available():
        assert "finds no GPU" in refusal(capsys, "classify", "--data", rows, "--device", "cuda")


def test_a_run_that_was_refused_can_be_started_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start, out = minis.bert_checkpoint(tmp_path / "bert"), tmp_path / "out"
    rows = lines(tmp_path / "a.jsonl", [*colours(20), {"text": "alone", "label": "of its own"}])
    for _ in range(2):
        assert "only one row with the label" in refusal(
            capsys, "classify", "--data", rows, "--from", start, "--out", out
        )
    assert not list(out.iterdir())


def test_all_recipes_are_listed_with_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    from zoo.training.recipes import RECIPES

    for words in (["train"], ["train", "--list"]):
        assert main(words) == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(RECIPES)


def test_own_folders_become_rows_of_the_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "CHECKPOINTS", catalog.CHECKPOINTS)
    folder = minis.bert_checkpoint(tmp_path / "bert-mini/checkpoint")
    row = own.add(folder)
    assert row.name == "bert-mini-2" and row.tasks == {"nli": ("nli",), "qa": ("qa",), "classify": ("topic",)}
    assert catalog.by_task("nli")[0].name == "bert-mini" and own.add(folder) == row
    assert sum(c.name == "bert-mini-2" for c in catalog.CHECKPOINTS) == 1
    assert zoo.load("bert-mini-2").revision == json.loads((folder / "config.json").read_text())["zoo"]["revision"]
    monkeypatch.setenv("ZOO_MODELS", f"{folder}:/b")
    assert own.folders(["/a", "/b"]) == [Path("/a"), Path("/b"), folder]
    with pytest.raises(Unsupported, match="no head that answers a task"):
        own.row_of(minis.bert_checkpoint(tmp_path / "bare", {"pooled": HeadSpec("pooled")}))
    with pytest.raises(zoo.ZooError, match=r"lacks config.json"):
        own.row_of(tmp_path)


def test_bad_parameter_is_what_a_folder_that_cannot_be_written_gives(tmp_path: Path) -> None:
    from zoo.training import command

    (tmp_path / "file").write_text("")
    asked = command.Asked("classify", None, None, "", None, None, 0, False, "", None, 1.0, False)
    with pytest.raises(BadParameter, match="cannot be written to"):
        command.claim(tmp_path / "file" / "below", asked, tmp_path)
