"""Checkpoints from the Hugging Face Hub, or from a folder. The only file that knows `huggingface_hub`.

A source is a folder, `owner/name`, or `owner/name@revision`, where a revision is a branch, a tag or a commit. All files
of a checkpoint come from one commit and lie in the Hub's own cache, where other programs find them too. Only what a
model needs is downloaded: config.json, the tokenizer files of its family, and one set of weights.

A branch is looked up once. What the cache holds completely is read from it without any connection, even if the branch
has moved on since, so that the same words give the same numbers; `refresh=True` asks the Hub again. The cache learns
where a branch stands only after the last file of that commit has arrived, and a download that broke off goes on.

HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_TOKEN are read at every call.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from zoo.errors import (
    BadCheckpoint,
    DownloadFailed,
    ModelUnavailable,
    UnknownModel,
    ZooError,
)
from zoo.family import Family
from zoo.weights.address import CHOOSE, Address, cache_folder, endpoint, is_set, parse
from zoo.weights.formats import SHARDED, WEIGHT_FILES, is_inside, read_json, shard_names
from zoo.weights.layout import names_in
from zoo.weights.load import CONFIG, family_of, layout_of

PAUSES = (0.5, 2.0)  # seconds before asking once more when the Hub answers with an error of its own
RESTARTS = 3  # how often one file may begin again from its first byte, for servers that cannot go on in the middle

Progress = Callable[[str, int, int | None], None]  # file, bytes that are here, bytes it has if known

_COMMIT = re.compile(r"[0-9a-f]{40}")
_COMMIT_NAME = re.compile(r"[A-Za-z0-9]{1,64}")  # what a mirror may call its commits; it becomes the name of a folder


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
    return fetch(text, families, progress, refresh, known)


def fetch(
    source: str,
    families: Iterable[Family],
    progress: bool | Progress = True,
    refresh: bool = False,
    known: Iterable[str] = (),
) -> Fetched:
    """Bring `owner/name` or `owner/name@revision` from the Hub into its cache, or find it there.

    `progress` shows bars on the terminal, or calls back with (file, bytes here, bytes in all); a ZooError that the
    callback raises stops the download. `refresh` asks the Hub where a branch stands now. Raises UnknownModel (no such
    repository or revision), ModelUnavailable (gated, offline, no connection), DownloadFailed (a file broke off, or
    the disk refuses it), BadCheckpoint (files are absent, or of no family here), BadParameter.
    """
    address, families = parse(source, known), tuple(families)
    repository = _Repository(address, progress)
    commit = None if refresh else repository.known_commit()
    if commit is not None:
        try:
            return _gather(repository, commit, families)
        except ModelUnavailable:  # the cache may hold enough without the files that could not be asked for
            repository.offline = True
            with contextlib.suppress(ZooError):
                return _gather(repository, commit, families)
            raise
        except UnknownModel:  # a branch whose history was rewritten no longer has the commit that the cache knows
            if commit == address.revision:
                raise
    commit = repository.ask_commit()
    fetched = _gather(repository, commit, families)
    repository.remember(commit)
    return fetched


def _gather(repository: _Repository, commit: str, families: tuple[Family, ...]) -> Fetched:
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
    family = family_of(raw, families, name)
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


class _Repository:
    """One repository: what of it lies in the cache, and how the Hub is asked for the rest."""

    def __init__(self, address: Address, progress: bool | Progress) -> None:
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        constants.HF_HUB_DISABLE_TELEMETRY = True  # read at every request; other packages may have imported it before
        self.address = address
        self.progress = progress
        self.endpoint = endpoint()
        self.cache = cache_folder()
        self.offline = constants.is_offline_mode() or is_set("HF_HUB_OFFLINE")
        self.storage = self.cache / repo_folder_name(repo_id=address.repository, repo_type="model")

    @property
    def host(self) -> str:
        """The Hub as messages name it, without a password."""
        return urlsplit(self.endpoint).netloc.rpartition("@")[2]

    def lacks(self, what: str, online: str) -> ZooError:
        """The error for a file that must be there: `online` if the Hub was asked, or that it is not in the cache."""
        if not self.offline:
            return BadCheckpoint(online)
        return ModelUnavailable(
            f"The cache {self.cache} does not hold {self.address}: it lacks {what}, and HF_HUB_OFFLINE forbids to ask "
            f"the Hub. Unset it, or run `python -m zoo pull {self.address}` where there is a connection.",
            model=str(self.address),
        )

    def known_commit(self) -> str | None:
        """The commit that the revision stands for, as far as this disk knows."""
        from huggingface_hub import try_to_load_from_cache

        repository, revision = self.address.repository, self.address.revision
        if _COMMIT.fullmatch(revision):
            return revision
        held = try_to_load_from_cache(repository, CONFIG, cache_dir=self.cache, revision=revision)
        return Path(held).parent.name if isinstance(held, str) else None

    def ask_commit(self) -> str:
        """The commit that the revision stands for on the Hub now."""
        if self.offline:
            raise self.lacks(CONFIG, "")
        metadata = self._ask(CONFIG, self.address.revision)
        if metadata is None:  # a checkpoint of another program
            return self._info(self.address.revision)[0]
        return str(metadata.commit_hash)

    def snapshot(self, commit: str) -> Path:
        """Where the cache keeps the files of a commit."""
        return self.storage / "snapshots" / commit

    def listing(self, commit: str) -> list[str]:
        """The names of all files of a commit; asked once, then kept beside the cache's own notes."""
        note = self.storage / ".listing" / f"{commit}.json"
        if note.is_file():
            with contextlib.suppress(OSError, ValueError):
                return list(json.loads(note.read_text(encoding="utf-8")))
        if self.offline:
            return names_in(self.snapshot(commit))
        _, names = self._info(commit)
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(json.dumps(names), encoding="utf-8")
        return names

    def _info(self, revision: str) -> tuple[str, list[str]]:
        """Commit and file names that the Hub's API gives for a revision."""
        from huggingface_hub import HfApi, constants

        with self._in_plain_words(CONFIG):
            info = HfApi(endpoint=self.endpoint).model_info(
                self.address.repository, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT
            )
        names = [sibling.rfilename for sibling in info.siblings or ()]
        if not _COMMIT_NAME.fullmatch(info.sha or "") or not all(map(is_inside, names)):
            raise ModelUnavailable(
                f"{self.host} answers, but not as a Hub does. Check HF_ENDPOINT, and whether a proxy or a login page "
                "stands in between.",
                model=str(self.address),
            )
        return str(info.sha), names

    def remember(self, commit: str) -> None:
        """Note where the branch or tag stands; a cache that cannot be written only costs a question next time."""
        if self.address.revision == commit:
            return
        ref = self.storage / "refs" / self.address.revision
        with contextlib.suppress(OSError):
            ref.parent.mkdir(parents=True, exist_ok=True)
            draft = ref.with_name(f"{ref.name}.{uuid4().hex[:8]}.tmp")
            draft.write_text(commit, encoding="ascii")
            draft.replace(ref)

    def get(self, commit: str, file: str) -> Path | None:
        """The file in the cache, downloaded if need be; None if the commit has no such file (or offline, none here)."""
        from huggingface_hub import _CACHED_NO_EXIST, constants, hf_hub_download, try_to_load_from_cache

        name = self.address.repository
        held = try_to_load_from_cache(name, file, cache_dir=self.cache, revision=commit)
        if isinstance(held, str):
            return Path(held)
        if held is _CACHED_NO_EXIST or self.offline:
            return None
        metadata = self._ask(file, commit)
        if metadata is None:
            self._note_absence(commit, file)
            return None
        self._check_room(file, metadata.size)
        with self._in_plain_words(file, downloading=True):
            path = hf_hub_download(
                name,
                file,
                revision=commit,
                cache_dir=self.cache,
                endpoint=self.endpoint,
                etag_timeout=constants.HF_HUB_ETAG_TIMEOUT,
                tqdm_class=_bar(file, str(self.address), self.progress),
            )
        return Path(path)

    def _ask(self, file: str, revision: str) -> Any:
        """What the Hub says about a file, or None if there is no such file.

        Asked before each download although `hf_hub_download` asks too, because that one retries for minutes when
        nobody answers, and to know the size beforehand.
        """
        from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

        url = hf_hub_url(self.address.repository, file, revision=revision, endpoint=self.endpoint)
        with self._in_plain_words(file):
            for pause in (*PAUSES, None):
                try:
                    metadata = get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT, endpoint=self.endpoint)
                except RemoteEntryNotFoundError:
                    return None
                except HfHubHTTPError as error:
                    status, headers = error.response.status_code, error.response.headers
                    if status == 404 and "X-Error-Code" not in headers and file != CONFIG:
                        return None  # a mirror that is a plain file server
                    if status < 500 or pause is None:
                        raise
                    time.sleep(pause)
                else:
                    break
        if not _COMMIT_NAME.fullmatch(metadata.commit_hash or "") or not metadata.etag:
            raise ModelUnavailable(
                f"{self.host} answers, but not as a Hub does. Check HF_ENDPOINT, and whether a proxy or a login page "
                "stands in between.",
                model=str(self.address),
            )
        return metadata

    def _note_absence(self, commit: str, file: str) -> None:
        """Remember, as the Hub's own client does, that the commit has no such file."""
        mark = self.storage / ".no_exist" / commit / file
        with contextlib.suppress(OSError):
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()

    def _check_room(self, file: str, size: int | None) -> None:
        folder = next((f for f in (self.storage, *self.storage.parents) if f.is_dir()), None)
        free = shutil.disk_usage(folder).free if folder else None
        if size is not None and free is not None and size > free:
            raise DownloadFailed(
                f"{file} of {self.address} has {size / 1e6:.0f} MB, the disk of {self.cache} has room for "
                f"{free / 1e6:.0f} MB. Make room, or set HF_HOME to a folder on another disk.",
                file=file,
            )

    @contextlib.contextmanager
    def _in_plain_words(self, file: str, downloading: bool = False) -> Iterator[None]:
        """Turn what the client raises into the errors of this zoo. `downloading` means that a file is on its way."""
        import httpx2
        from huggingface_hub.errors import XetDownloadError

        try:
            yield
        except ZooError:
            raise
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, RuntimeError, XetDownloadError) as error:
            raise self._refused(error, downloading) or self._failed(error, file, downloading) from None

    def _refused(self, error: Exception, downloading: bool) -> ZooError | None:
        """The error for an answer that says no, or None."""
        from huggingface_hub import errors

        name, details = self.address.repository, {"model": str(self.address)}
        response = getattr(error, "response", None)
        status, code = getattr(response, "status_code", 0), getattr(response, "headers", {}).get("X-Error-Code")
        if isinstance(error, errors.GatedRepoError):
            return ModelUnavailable(
                f"{name} is gated: its owners ask for an agreement first. Open {self.endpoint}/{name}, accept the "
                "terms, set HF_TOKEN to a token of that account, and try again.",
                **details,
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return UnknownModel(
                f"{name} has no revision {self.address.revision!r}. Give a branch, a tag or a commit of it, or "
                f"{name} alone for its main branch.",
                **details,
            )
        if code == "RepoNotFound" or (status == 404 and not downloading):
            return UnknownModel(
                f"There is no model {name} at {self.host}, or it is private and HF_TOKEN does not open it. {CHOOSE}",
                **details,
            )
        if isinstance(error, errors.DisabledRepoError):
            return ModelUnavailable(f"{name} was closed by {self.host}. Choose another model.", **details)
        if status in (401, 403):
            return ModelUnavailable(
                f"{self.host} does not open {name} to you ({status}). Set HF_TOKEN to a valid token of an account "
                "that may read it, or unset it if it has expired.",
                **details,
            )
        if status == 429:
            wait = getattr(response, "headers", {}).get("Retry-After", "")
            after = f"in {wait} seconds" if wait.isdecimal() else "in some minutes"
            return ModelUnavailable(f"{self.host} got too many requests from here. Try again {after}.", **details)
        return None

    def _failed(self, error: Exception, file: str, downloading: bool) -> ZooError:
        """The error for an answer that did not come, or not whole."""
        import httpx2
        from huggingface_hub import errors

        address, details = self.address, {"model": str(self.address), "file": file}
        status = getattr(getattr(error, "response", None), "status_code", 0)
        number = getattr(error, "errno", None)
        if isinstance(error, errors.OfflineModeIsEnabled):
            self.offline = True
            return self.lacks(file, "")
        if isinstance(error, (httpx2.TransportError, errors.LocalEntryNotFoundError)) and not downloading:
            slow = isinstance(error, httpx2.TimeoutException)
            what = f"{self.host} does not answer" if slow else f"There is no connection to {self.host}"
            return ModelUnavailable(
                f"{what}, and {address} is not (wholly) in the cache. Check the network and HF_ENDPOINT, or choose a "
                "model that is here already (`python -m zoo list`).",
                **details,
            )
        if status >= 500 and not downloading:
            return ModelUnavailable(
                f"{self.host} answers with an error of its own ({status}). Try again later; models that are here "
                "already work without it.",
                **details,
            )
        if number is not None and not isinstance(error, (httpx2.HTTPError, errors.LocalEntryNotFoundError)):
            full = "The disk is full" if number in (errno.ENOSPC, errno.EDQUOT) else os.strerror(number)
            return DownloadFailed(
                f"{file} of {address} cannot be written to {self.cache}: {full}. Make room there, or set HF_HOME to "
                "a folder that can be written.",
                **details,
            )
        reason = f"status {status}" if status else type(error).__name__
        return DownloadFailed(
            f"{file} of {address} did not arrive whole from {self.host} ({reason}). Try again: the files that have "
            "arrived are kept.",
            **details,
        )


def _bar(file: str, address: str, progress: bool | Progress) -> type:
    """A progress bar for one file that shows, reports or is silent, and that ends a download which never gets on."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        """Counts the bytes. The client takes bytes back when a server sends a file from its beginning again."""

        bars = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            if progress is not True:
                options["disable"] = True
            super().__init__(*args, **options)
            self.reports = callable(progress) and Bar.bars == 0  # Xet shows a second bar for the same bytes
            self.here = int(options.get("initial") or 0)
            self.restarts = 0
            Bar.bars += 1

        def update(self, n: float | None = 1) -> bool | None:
            """Count `n` bytes more, or less. Raises DownloadFailed at the restart that is one too many."""
            self.here += int(n or 0)
            self.restarts += (n or 0) < 0
            if self.restarts > RESTARTS:
                raise DownloadFailed(
                    f"{file} of {address} broke off {RESTARTS + 1} times and always began again. Try again later.",
                    model=address,
                    file=file,
                )
            if self.reports and callable(progress):
                progress(file, self.here, self.total)
            return super().update(n)

    return Bar
