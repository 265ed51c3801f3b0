"""One repository of the Hugging Face Hub: what of it lies in the cache, and how the Hub is asked for the rest. The
only file that knows `huggingface_hub`, and the one that turns what it raises into sentences.

HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_TOKEN are read at every call.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
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
from zoo.weights.address import CHOOSE, Address, cache_folder, endpoint, is_set
from zoo.weights.formats import is_inside
from zoo.weights.guards import MOST_JSON
from zoo.weights.layout import names_in
from zoo.weights.load import CONFIG

PAUSES = (0.5, 2.0)  # seconds before asking once more when the Hub answers with an error of its own
RESTARTS = 3  # how often one file may begin again from its first byte, for servers that cannot go on in the middle

Progress = Callable[[str, int, int | None], None]  # file, bytes that are here, bytes it has if known
_leaving = threading.Event()


def leave() -> None:
    """End every download of this process with its next piece: the process ends, and other threads must let it go."""
    _leaving.set()


_COMMIT = re.compile(r"[0-9a-f]{40}")
_COMMIT_NAME = re.compile(r"[A-Za-z0-9]{1,64}")  # what a mirror may call its commits; it becomes the name of a folder


class Repository:
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
        revision = self.address.revision
        if _COMMIT.fullmatch(revision):
            return revision
        with contextlib.suppress(OSError, ValueError):
            commit = (self.storage / "refs" / revision).read_text(encoding="ascii").strip()
            if _COMMIT_NAME.fullmatch(commit) and self.snapshot(commit).is_dir():
                return commit
        return None

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
            with contextlib.suppress(OSError, ValueError, RecursionError):
                kept = json.loads(note.read_text(encoding="utf-8"))
                if isinstance(kept, list) and all(isinstance(name, str) and is_inside(name) for name in kept):
                    return kept
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

        try:
            with self._in_plain_words(CONFIG):
                info = HfApi(endpoint=self.endpoint).model_info(
                    self.address.repository, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT
                )
                names = [sibling.rfilename for sibling in info.siblings or ()]
        except (KeyError, TypeError, AttributeError):  # what the client runs into when the answer is none of the Hub's
            raise self._no_hub() from None
        if not _COMMIT_NAME.fullmatch(info.sha or "") or not all(map(is_inside, names)):
            raise self._no_hub()
        return str(info.sha), names

    def _no_hub(self) -> ZooError:
        return ModelUnavailable(
            f"{self.host} answers, but not as a Hub does. Check HF_ENDPOINT, and whether a proxy or a login page "
            "stands in between.",
            model=str(self.address),
        )

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
        if metadata.commit_hash != commit:
            raise self._changed(file, commit, metadata.commit_hash)
        if file.endswith(".json") and (metadata.size or 0) > MOST_JSON:
            raise BadCheckpoint(
                f"{file} of {self.address} has {metadata.size:,} bytes; at most {MOST_JSON:,} are read as JSON, so it "
                "was not downloaded."
            )
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
        if Path(path) != self.snapshot(commit) / file:  # the answer to the download itself named another commit
            (self.storage / "refs" / commit).unlink(missing_ok=True)  # where the client notes that one is the other
            Path(path).unlink(missing_ok=True)
            raise self._changed(file, commit, Path(path).relative_to(self.storage / "snapshots").parts[0])
        return Path(path)

    def _changed(self, file: str, commit: str, other: str) -> ZooError:
        """The error for a Hub that answers with a file of another commit than the one asked for."""
        return DownloadFailed(
            f"{self.address} changed while it was fetched: {file} was asked for at {commit[:12]}, {self.host} answers "
            f"with {other[:12]}. Files of two commits are not mixed. Try again.",
            model=str(self.address),
            file=file,
        )

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
            raise self._no_hub()
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
            if _leaving.is_set():
                raise DownloadFailed(f"The process ends before {file} of {address} is here.", model=address, file=file)
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
