"""Files made to harm: each is refused with the file and the reason, quickly, with nothing run and nothing half-loaded.

Where a Hub is in between, the second try after the fault succeeds: a bad answer never stays in the cache.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from tests.hub_server import Fault, HubServer
from tests.published import bert_gpt2
from tests.zoo.hostile import folder_with, refused
from tests.zoo.hub_case import NAME, WEIGHTS, files, get
from zoo import load
from zoo.errors import BadCheckpoint, CheckpointMismatch, DownloadFailed, ZooError
from zoo.models.shelf import FAMILIES
from zoo.weights import guards
from zoo.weights.formats import read_json
from zoo.weights.load import load_folder

# --- config.json


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hidden_act": "exec"}, ("hidden_act = 'exec'", "'gelu'")),
        ({"hidden_size": None}, ("config.json lacks hidden_size",)),
        ({"num_hidden_layers": 10**9}, ("claims far more layers than its weights hold",)),
        ({"num_hidden_layers": 10**30}, ("claims far more layers than its weights hold",)),
        ({"num_hidden_layers": -1}, ()),
        ({"num_labels": 10**9, "id2label": None}, ("num_labels is 1000000000",)),
        ({"num_labels": -4, "id2label": None}, ("num_labels is -4",)),
        ({"vocab_size": 10**15, "hidden_size": 10**9, "num_attention_heads": 1}, ()),
        ({"hidden_size": "16; rm -rf /"}, ("hidden_size",)),
        ({"num_attention_heads": 0}, ()),
        ({"id2label": {"0": ["no"], "x": "yes"}}, ("config.json",)),
    ],
)
def test_a_config_that_makes_no_such_model(tmp_path: Path, values: dict[str, Any], words: tuple[str, ...]) -> None:
    refused(folder_with(tmp_path, **values), *words, error=ZooError)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "values", [{"vocab_size": 10**9}, {"intermediate_size": 10**9}, {"max_position_embeddings": 10**12}]
)
def test_absurd_sizes_cost_no_memory(tmp_path: Path, values: dict[str, int]) -> None:
    refused(folder_with(tmp_path, **values), "of the wrong shape", error=CheckpointMismatch)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["n_layer", "num_hidden_layers"])
def test_a_thousand_million_layers_of_any_family(tmp_path: Path, name: str) -> None:
    make = tiny.gpt2 if name == "n_layer" else tiny.bert
    refused(make().but(**{name: 10**9}).write(tmp_path / "model"), "claims far more layers")
    assert torch.is_grad_enabled(), "the build was stopped where gradients are off, and they were left so"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("text", ['{"a":' + "[" * 200_000, '{"a":' * 50_000, "9" * 100_000, '{"a": "\\ud800"', "\x00"])
def test_json_that_is_deep_or_broken(tmp_path: Path, text: str) -> None:
    folder = folder_with(tmp_path)
    (folder / "config.json").write_text(text)
    refused(folder, "config.json")


@pytest.mark.usefixtures("quick")
def test_a_config_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    with (folder / "config.json").open("r+b") as file:
        file.truncate(2**30)  # a hole: it takes no room on the disk
    refused(folder, "config.json has 1,073,741,824 bytes")


def test_a_config_of_a_gigabyte_is_not_downloaded(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.weights import hub as access

    hub.publish(NAME, folder_with(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(access, "MOST_JSON", 100)
        with pytest.raises(BadCheckpoint, match=r"config\.json of owner/tiny-bert has .* it was not downloaded"):
            get()
    assert not hub.asked("config.json", "GET")
    assert files(get()) >= {"config.json", WEIGHTS}


def test_the_limit_of_json_leaves_room_for_real_vocabularies() -> None:
    assert guards.MOST_JSON > 10 * 5_250_000  # Transformer-XL's vocabulary, the largest that is published


# --- Weights that are cut or of another shape


@pytest.mark.parametrize("form", ["safetensors", "sharded safetensors", "bin", "old bin"])
def test_half_a_weight_file(tmp_path: Path, form: str) -> None:
    folder = tiny.bert().write(tmp_path / "bert", form)
    path = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])[-1]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused(folder, path.name, "is broken or was cut off")
    path.write_bytes(data)
    assert load_folder(folder, FAMILIES)


def headed(text: bytes) -> bytes:
    """A safetensors file of this header and four bytes of numbers."""
    return len(text).to_bytes(8, "little") + text + bytes(4)


@pytest.mark.parametrize(
    "header",
    [
        b"\xff" * 8,
        (2**63).to_bytes(8, "little"),
        (2).to_bytes(8, "little") + b"[]",
        headed(b'{"a":{"dtype":"F32","shape":[1000000000,1000000000],"data_offsets":[0,4]}}'),
        headed(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4000000000]}}'),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("quick")
def test_safetensors_whose_header_lies(tmp_path: Path, header: bytes) -> None:
    folder = folder_with(tmp_path)
    (folder / WEIGHTS).write_bytes(header)
    refused(folder, WEIGHTS, "is broken or was cut off")


# --- Names that lead elsewhere


@pytest.mark.parametrize("shard", ["../other.safetensors", "/etc/passwd", "a/../../b", "..\\b", "C:b"])
def test_an_index_that_leads_outside(hub: HubServer, tmp_path: Path, shard: str) -> None:
    folder = tiny.bert().write(tmp_path / "bert", "sharded safetensors")
    index = folder / "model.safetensors.index.json"
    good = index.read_text()
    index.write_text(json.dumps({"weight_map": {"a": shard}}))
    refused(folder, "names files outside its folder")
    hub.publish(NAME, folder)
    with pytest.raises(BadCheckpoint, match="names files outside its folder"):
        get()
    index.write_text(good)
    hub.publish(NAME, folder)
    assert load_folder(get(refresh=True).folder, FAMILIES)


# --- A Hub that changes its mind


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("file", ["vocab.txt", WEIGHTS])
def test_a_repository_that_changes_between_two_files(repository: HubServer, method: str, file: str) -> None:
    fault = Fault(file, method=method, commit="b" * 40)
    repository.faults.append(fault)
    if method == "HEAD":
        with pytest.raises(DownloadFailed, match=rf"changed while it was fetched: {file} .* answers with bbbbbbbbbbbb"):
            get()
    else:
        get()  # the body is of the file that was asked for by its commit; only HEAD says which commit an answer is of
    repository.faults.clear()
    fetched = get()
    assert fetched.revision == repository.repositories[NAME].refs["main"]
    assert files(fetched) == {"config.json", "vocab.txt", WEIGHTS}
    assert load_folder(fetched.folder, FAMILIES)


def test_a_repository_that_changes_between_asking_and_downloading(repository: HubServer) -> None:
    """The client asks once more by itself before it downloads; that answer, too, must be of the same commit."""
    asked = 0

    class Second(Fault):
        def hits(self, method: str, path: str) -> bool:
            nonlocal asked
            asked += method == "HEAD" and path.endswith(WEIGHTS)
            return method == "HEAD" and path.endswith(WEIGHTS) and asked == 2

    repository.faults.append(Second(commit="c" * 40))
    with pytest.raises(DownloadFailed, match="answers with cccccccccccc"):
        get()
    repository.faults.clear()
    assert load_folder(get().folder, FAMILIES)
    repository.requests.clear()
    get()
    assert repository.requests == [], "the cache still takes one commit for the other"


# --- Vocabularies


def test_a_vocabulary_that_does_not_match_the_embedding(hub: HubServer, tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    good = (folder / "vocab.txt").read_text()
    (folder / "vocab.txt").write_text(good + "more\nand more\n")
    hub.publish("google-bert/bert-base-uncased", folder)
    with pytest.raises(BadCheckpoint, match="belong to another checkpoint"):
        load("bert-base-uncased")
    (folder / "vocab.txt").write_text(good)
    hub.publish("google-bert/bert-base-uncased", folder)
    assert get("google-bert/bert-base-uncased", refresh=True) and load("bert-base-uncased")


@pytest.mark.parametrize("kind", ["BertForPreTraining", "GPT2LMHeadModel"])
def test_added_tokens_of_old_repositories_are_honoured(tmp_path: Path, kind: str) -> None:
    folder = bert_gpt2.repository(tmp_path / "model", kind)
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    small = json.dumps({"qqq": rows - 1})
    vocabulary = folder / ("vocab.txt" if kind.startswith("Bert") else "vocab.json")
    if kind.startswith("Bert"):
        vocabulary.write_text("\n".join(vocabulary.read_text().split("\n")[: rows - 1]) + "\n")
    else:
        words = json.loads(vocabulary.read_text())
        vocabulary.write_text(json.dumps({w: i for w, i in words.items() if i < rows - 1}))
    (folder / "added_tokens.json").write_text(small)
    model = load_folder(folder, FAMILIES)
    assert model.tokenizer.vocabulary == rows
    assert rows - 1 in model.tokenizer.pieces("the qqq the").ids
    (folder / "added_tokens.json").write_text(json.dumps({"qqq": rows + 5}))
    refused(folder, "added_tokens.json gives qqq the id")
    (folder / "added_tokens.json").write_text(json.dumps({"qqq": "last"}))
    refused(folder, "added_tokens.json")


def test_read_json_says_which_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(BadCheckpoint, match=r"config\.json"):
        read_json(tmp_path / "config.json")
