"""A source -> the files of a checkpoint on this disk: a folder as it is, anything else from the Hub.

A source is a folder, `owner/name`, or `owner/name@revision`, where a revision is a branch, a tag or a commit. All files
of a checkpoint come from one commit and lie in the Hub's own cache, where other programs find them too. Only what a
model needs is downloaded: config.json, the tokenizer files of its family, and one set of weights; of a checkpoint of
another program, the files that the family's layout names.

A branch is looked up once. What the cache holds completely is read from it without any connection, even if the branch
has moved on since, so that the same words give the same numbers; `refresh=True` asks the Hub again. The cache learns
where a branch stands only after the last file of that commit has arrived, and a download that broke off goes on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import ModelUnavailable, UnknownModel, ZooError
from zoo.family import Family
from zoo.weights.address import CHOOSE, parse
from zoo.weights.formats import SHARDED, WEIGHT_FILES, read_json, shard_names
from zoo.weights.hub import Progress, Repository
from zoo.weights.load import CONFIG, family_of, layout_of


@dataclass(frozen=True)
class Fetched:
    """A checkpoint on this disk. `revision` is a commit of the Hub, or "local" for a folder of the user's."""

    folder: Path
    source: str
    revision: str


def resolve(
    source: str | Path,
    families: Iterable[Family],
    progress: bool | Progress = True,
    refresh: bool = False,
    known: Iterable[str] = (),
    assumed: str | None = None,
) -> Fetched:
    """The files of `source`: a folder as it is, anything else from the Hub (see `fetch`).

    A folder wins over a repository of the same name. Raises UnknownModel for a path at which there is no folder.
    """
    text = str(source)
    folder = Path(os.path.expanduser(text))
    if text and os.path.isdir(folder):
        return Fetched(folder, text, "local")
    if text and os.path.isfile(folder):
        raise UnknownModel(f"{text} is a file. Give the folder that holds config.json and the weights.", model=text)
    before_revision = text.partition("@")[0]
    is_path = isinstance(source, Path) or text.startswith((".", "/", "~")) or "\\" in text or folder.is_absolute()
    if is_path or before_revision.count("/") > 1:
        raise UnknownModel(f"There is no folder {text}. {CHOOSE}", model=text)
    return fetch(text, families, progress, refresh, known, assumed)


def fetch(
    source: str,
    families: Iterable[Family],
    progress: bool | Progress = True,
    refresh: bool = False,
    known: Iterable[str] = (),
    assumed: str | None = None,
) -> Fetched:
    """Bring `owner/name` or `owner/name@revision` from the Hub into its cache, or find it there.

    `progress` shows bars on the terminal, or calls back with (file, bytes here, bytes in all); a ZooError that the
    callback raises stops the download. `refresh` asks the Hub where a branch stands now. `assumed` is the family of an
    old config.json that names no model_type. Raises UnknownModel (no such repository or revision), ModelUnavailable
    (gated, offline, no connection), DownloadFailed (a file broke off, the repository changed meanwhile, or the disk
    refuses it), BadCheckpoint (files are absent, or of no family here), BadParameter.
    """
    address, families = parse(source, known), tuple(families)
    repository = Repository(address, progress)
    commit = None if refresh else repository.known_commit()
    if commit is not None:
        try:
            return _gather(repository, commit, families, assumed)
        except ModelUnavailable:  # the cache may hold enough without the files that could not be asked for
            repository.offline = True
            with contextlib.suppress(ZooError):
                return _gather(repository, commit, families, assumed)
            raise
        except UnknownModel:  # a branch whose history was rewritten no longer has the commit that the cache knows
            if commit == address.revision:
                raise
    commit = repository.ask_commit()
    fetched = _gather(repository, commit, families, assumed)
    repository.remember(commit)
    return fetched


def _gather(repository: Repository, commit: str, families: tuple[Family, ...], assumed: str | None) -> Fetched:
    name = str(repository.address)
    config = repository.get(commit, CONFIG)
    raw = read_json(config) if config is not None else {}
    if "model_type" not in raw:
        names = repository.listing(commit)
        found = layout_of(names, raw, families)
        if found is not None:
            paths = {file: repository.get(commit, file) for file in found[1].files(names)}
            absent = [file for file, path in paths.items() if path is None]
            if absent:
                raise repository.lacks(absent[0], f"{name} has no {absent[0]}, which it lists.")
            return Fetched(repository.snapshot(commit), repository.address.repository, commit)
    if config is None:
        raise repository.lacks(
            CONFIG, f"{name} has no {CONFIG}, and no files of another kind, so it is no checkpoint this zoo can read."
        )
    family = family_of(raw, families, name, assumed)
    for file in family.tokenizer_files:
        repository.get(commit, file)
    for file in WEIGHT_FILES:
        path = repository.get(commit, file)
        if path is None:
            continue
        for shard in shard_names(path) if file in SHARDED else ():
            if repository.get(commit, shard) is None:
                raise repository.lacks(shard, f"{name} has no {shard}, which its {file} names.")
        return Fetched(config.parent, repository.address.repository, commit)
    raise repository.lacks("the weights", f"{name} holds no weights: none of {', '.join(WEIGHT_FILES)} is there.")
