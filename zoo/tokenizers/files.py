"""The files that a repository keeps its tokenizer in: tokenizer.json and its options, vocabularies, added tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from zoo.errors import BadCheckpoint
from zoo.weights.formats import read_json


def read_lines(path: Path) -> list[str]:
    """The lines of a vocabulary file. Raises BadCheckpoint when it is absent or no text."""
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise BadCheckpoint(f"{path.parent} has neither tokenizer.json nor {path.name}.") from None
    except UnicodeDecodeError:
        raise BadCheckpoint(f"{path} is not UTF-8 text.") from None


def options_of(folder: Path) -> dict[str, Any]:
    """What tokenizer_config.json says, if it is there."""
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.is_file() else {}


def decides(options: dict[str, Any]) -> bool:
    """Whether tokenizer_config.json is there, and of a class that builds its pipeline from the options in it."""
    return bool(options) and options.get("tokenizer_class") not in ("PreTrainedTokenizerFast", "TokenizersBackend")


def from_json(folder: Path) -> Tokenizer | None:
    """The pipeline of tokenizer.json, if there is one. Raises BadCheckpoint when it is broken."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 (the library raises plain Exception for every kind of broken file)
        raise BadCheckpoint(f"{path} is no readable tokenizer ({error}). Download or copy it again.") from None


def made(folder: Path, make: Callable[[], Any]) -> Any:
    """What `make` makes of a vocabulary. Raises BadCheckpoint, as the library raises, when it does not fit together."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001 (the library raises plain Exception)
        raise BadCheckpoint(f"The vocabulary files in {folder} do not fit together ({error}).") from None


def read_bpe(vocabulary: Path, merges: Path) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Ids by piece, and the pairs of pieces that become one, in order. Raises BadCheckpoint."""
    pieces = read_json(vocabulary)
    lines = read_lines(merges)
    rows = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    if any(len(row) != 2 for row in rows):
        raise BadCheckpoint(f"{merges} has lines that are no pair of pieces.")
    return pieces, [(a, b) for a, b in rows]


def add_tokens(pipeline: Tokenizer, folder: Path, special: bool = True) -> None:
    """Tokens that stand behind the vocabulary, by their ids; `special` ones are left out of decoded text.

    Raises BadCheckpoint when an id is left out or taken.
    """
    path, old = folder / "added_tokens.json", folder / "special_tokens.txt"
    if path.is_file():
        added = read_json(path)
        if not all(isinstance(index, int) for index in added.values()):
            raise BadCheckpoint(f"{path} does not give each token a number.")
    elif old.is_file():
        first = pipeline.get_vocab_size()
        added = {token: first + place for place, token in enumerate(filter(None, read_lines(old)))}
    else:
        return
    for token in sorted(added, key=lambda name: added[name]):
        pipeline.add_tokens([AddedToken(token, special=special, normalized=not special)])
        if pipeline.token_to_id(token) != added[token]:
            raise BadCheckpoint(
                f"{path if path.is_file() else old} gives {token} the id {added[token]}; behind the vocabulary comes "
                f"{pipeline.token_to_id(token)}. The vocabulary files belong to another checkpoint."
            )
