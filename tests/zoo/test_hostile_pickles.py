"""Pickles, zips and HDF5 files made to harm: none runs a command, none unfolds, each is refused by name and reason."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from tests.zoo.hostile import GOOD, Claim, Evil, folder_with, nested, pickled, refused, zipped
from tests.zoo.hub_case import WEIGHTS
from zoo.errors import BadCheckpoint, ZooError
from zoo.models.shelf import FAMILIES
from zoo.weights import guards
from zoo.weights.formats import read_tensors
from zoo.weights.load import load_folder

# --- Pickles that run commands


@pytest.mark.parametrize("layout", ["bin", "old bin", "sharded bin"])
def test_a_pickle_that_runs_a_command(tmp_path: Path, layout: str) -> None:
    folder = tiny.bert().write(tmp_path / "bert", layout)
    path = sorted(folder.glob("*.bin"))[-1]
    torch.save({"a": Evil(tmp_path / "ran")}, path, _use_new_zipfile_serialization=layout == "bin")
    refused(folder, path.name, "posix.system")
    assert not (tmp_path / "ran").exists()


def test_the_hostile_pickle_of_these_tests_is_hostile(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil(tmp_path / "ran")))  # noqa: S301 (our own)
    assert (tmp_path / "ran").exists()


# --- Pickles that unfold


BOMBS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "storage that is larger than its part": (
        lambda p: zipped(p, pickled({"a": Claim(10**9, (10**9,), (1,))})), "broken or was cut off"),
    "a tensor of one number, four terabytes large": (
        lambda p: zipped(p, pickled({"a": Claim(16, (10**6, 10**6), (0, 0))})), "claims 4,000,000,000,000 bytes"),
    "the same numbers under many names": (
        lambda p: zipped(p, pickled({str(i): Claim(10**6, (10**6,), (1,)) for i in range(99)}), bytes(4 * 10**6)),
        "would take 396,000,000"),
    "a compressed part": (
        lambda p: zipped(p, pickled({"a": GOOD}), bytes(10**8), zipfile.ZIP_DEFLATED), "a compressed part"),
    "a key that takes forever to hash": (lambda p: zipped(p, nested(60)), "nested more than 16 deep"),
    "the same in a pickle without a zip": (lambda p: p.write_bytes(nested(60)), "nested more than 16 deep"),
    "the same before an innocent zip": (
        lambda p: p.write_bytes(nested(60) + zipped(p, pickled({"a": GOOD})).read_bytes()), "nested more than 16 deep"),
    "a zip without its directory": (
        lambda p: p.write_bytes(zipped(p, pickled({"a": GOOD})).read_bytes()[:-40]), "broken or was cut off"),
    "a name that leads out of the file": (
        lambda p: zipped(p, pickled({"a": GOOD}), **{"../../evil": b"x"}), "points outside"),
    "a name from the root": (lambda p: zipped(p, pickled({"a": GOOD}), **{"/etc/cron.d/x": b"x"}), "points outside"),
    "a name with a drive": (lambda p: zipped(p, pickled({"a": GOOD}), **{"C:\\x": b"x"}), "points outside"),
}  # fmt: skip


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_file_that_unfolds(tmp_path: Path, bomb: str) -> None:
    make, words = BOMBS[bomb]
    folder = folder_with(tmp_path)
    (folder / WEIGHTS).unlink()
    make(folder / "pytorch_model.bin")
    refused(folder, "pytorch_model.bin", words)
    assert not (tmp_path / "evil").exists()


def test_the_files_that_unfold_are_files_but_for_that(tmp_path: Path) -> None:
    assert read_tensors([zipped(tmp_path / "a.bin", pickled({"a": GOOD}))])["a"].shape == (4, 4)
    assert pickle.loads(nested(3))  # noqa: S301 (our own)


@pytest.mark.usefixtures("quick")
def test_a_pickle_of_endless_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "OPERATIONS", 1000)
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(b"\x80\x02" + b"(0" * 2000 + b"N.")
    with pytest.raises(BadCheckpoint, match="more than 1,000 steps"):
        read_tensors([path])


def test_members_that_overlap(tmp_path: Path) -> None:
    """A zip whose directory names the same bytes a thousand times."""
    path = zipped(tmp_path / "a.bin", pickled({"a": GOOD}), bytes(10**5))
    data = path.read_bytes()
    at = data.index(b"PK\x01\x02")
    entry = data[at : data.index(b"PK\x01\x02", at + 4)]
    many = 200
    size = int.from_bytes(data[-10:-6], "little") + many * len(entry)
    end = data[data.index(b"PK\x05\x06") :]
    count = int.from_bytes(end[10:12], "little") + many
    end = end[:8] + count.to_bytes(2, "little") * 2 + size.to_bytes(4, "little") + end[16:]
    path.write_bytes(data[:at] + entry * many + data[at : data.index(b"PK\x05\x06")] + end)
    with pytest.raises(BadCheckpoint):
        read_tensors([path])


# --- Files of other programs


def test_half_an_hdf5_file(tmp_path: Path) -> None:
    from tests.published import elmo

    folder = elmo.repository(tmp_path / "elmo", "hdf5")
    (path,) = folder.glob("*.hdf5")
    data = path.read_bytes()
    for kept in (0, 100, len(data) // 2):
        path.write_bytes(data[:kept])
        refused(folder, path.name, "was cut off")
    path.write_bytes(data)
    assert load_folder(folder, FAMILIES).family.name == "elmo"


@pytest.mark.usefixtures("quick")
def test_an_hdf5_file_that_claims_terabytes(tmp_path: Path) -> None:
    import h5py

    from tests.published import elmo

    folder = elmo.repository(tmp_path / "elmo", "hdf5")
    (path,) = folder.glob("*.hdf5")
    with h5py.File(path, "r+") as file:
        del file["char_embed"]
        file.create_dataset("char_embed", (10**6, 10**6), "f4", chunks=(1000, 1000))  # no chunk of it is written
    refused(folder, path.name, "4,000,0")


@pytest.mark.usefixtures("quick")
def test_absurd_sizes_in_the_options_of_elmo(tmp_path: Path) -> None:
    from tests.published import elmo

    for part, name in (("lstm", "n_layers"), ("lstm", "dim"), ("char_cnn", "n_highway"), ("char_cnn", "n_characters")):
        folder = elmo.repository(tmp_path / name, "hdf5")
        options = json.loads((folder / "options.json").read_text())
        options[part][name] = 10**9
        (folder / "options.json").write_text(json.dumps(options))
        refused(folder, error=ZooError)


@pytest.mark.parametrize("kind", ["nli", "qa"])
@pytest.mark.parametrize("zipped_", [True, False])
def test_a_command_in_weights_of_allennlp(tmp_path: Path, kind: str, zipped_: bool) -> None:
    from tests.published import elmo

    folder = elmo.repository(tmp_path / "model", kind)
    good = (folder / "weights.th").read_bytes()
    torch.save({"a": Evil(tmp_path / "ran")}, folder / "weights.th", _use_new_zipfile_serialization=zipped_)
    refused(folder, "weights.th", "posix.system")
    assert not (tmp_path / "ran").exists()
    zipped(folder / "weights.th", nested(60))
    refused(folder, "weights.th", "nested more than 16 deep")
    (folder / "weights.th").write_bytes(good[: len(good) // 2])
    refused(folder, "weights.th", "was cut off")
    (folder / "weights.th").write_bytes(good)
    assert load_folder(folder, FAMILIES)


@pytest.mark.usefixtures("quick")
def test_a_command_in_a_learner(tmp_path: Path) -> None:
    """A Learner names hundreds of classes of fastai; of those that are none of it, none is called either."""
    from tests.published import ulmfit

    folder = ulmfit.repository(tmp_path / "model", "learner classifier", name="model.pkl")
    path = folder / "model.pkl"
    good = path.read_bytes()
    for kind in (True, False):
        torch.save(Evil(tmp_path / "ran"), path, _use_new_zipfile_serialization=kind)
        refused(folder, "model.pkl")
    path.write_bytes(pickle.dumps(Evil(tmp_path / "ran"), 2))
    refused(folder, "model.pkl")
    assert not (tmp_path / "ran").exists()
    zipped(path, nested(60))
    refused(folder, "model.pkl", "nested more than 16 deep")
    zipped(path, pickled({"a": GOOD}), bytes(10**8), zipfile.ZIP_DEFLATED)
    refused(folder, "model.pkl", "a compressed part")
    zipped(path, pickled({"model": Claim(10**9, (10**9,), (1,))}))
    refused(folder, "model.pkl")
    for kept in (10, len(good) // 2, len(good) - 10):
        path.write_bytes(good[:kept])
        refused(folder, "model.pkl")
    path.write_bytes(good)
    assert load_folder(folder, FAMILIES).family.name == "ulmfit"


def test_a_command_inside_a_whole_learner_is_not_run(tmp_path: Path) -> None:
    from tests.published import ulmfit

    folder = ulmfit.repository(tmp_path / "model", "learner classifier", name="model.pkl")
    with zipfile.ZipFile(folder / "model.pkl") as archive:
        parts = {i.filename: archive.read(i) for i in archive.infolist()}
    (name,) = (n for n in parts if n.endswith("data.pkl"))
    command = f"touch {tmp_path / 'ran'}".encode()
    call = b"cposix\nsystem\n(X" + len(command).to_bytes(4, "little") + command + b"tR0"  # called, its answer dropped
    pickle.loads(b"\x80\x02" + call + b"N.")  # noqa: S301 (our own)
    (tmp_path / "ran").unlink()
    parts[name] = parts[name][:2] + call + parts[name][2:]
    with zipfile.ZipFile(folder / "model.pkl", "w") as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
    load_folder(folder, FAMILIES)  # the name is a stone like those of fastai, and its call is nothing
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("code", ["X", "\x8d", "\x8e", "\x96"])
def test_a_text_longer_than_the_file(tmp_path: Path, code: str) -> None:
    """A pickle that claims bytes without end: none are made room for."""
    path = tmp_path / "pytorch_model.bin"
    size = (2**31 - 1).to_bytes(4, "little") if code == "X" else (2**62).to_bytes(8, "little")
    path.write_bytes(b"\x80\x02" + code.encode("latin-1") + size + b"abc.")
    with pytest.raises(BadCheckpoint):
        read_tensors([path])
