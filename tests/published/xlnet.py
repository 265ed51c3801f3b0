"""Tiny random XLNet repositories as the Hub has them, and a SentencePiece model written byte by byte.

Kinds: `lm` (xlnet/xlnet-base-cased and -large-cased, hfl/chinese-xlnet-*), `classifier` (textattack/*, ynie/*), `span`
(fine-tuned on SQuAD with a plain head), `beams` (fine-tuned on SQuAD with starts, ends for each, and "no answer"),
`tokens`, `choice`, and `bare`, a body without a head or prefix.
Forms: `safetensors`; `bin`; `old`, a pickle and a config.json of 2019, which says n_token for vocab_size.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import save_file

CLASSES = {
    "lm": "XLNetLMHeadModel",
    "classifier": "XLNetForSequenceClassification",
    "span": "XLNetForQuestionAnsweringSimple",
    "beams": "XLNetForQuestionAnswering",
    "tokens": "XLNetForTokenClassification",
    "choice": "XLNetForMultipleChoice",
    "bare": "XLNetModel",
}
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
SPECIAL_PIECES = [("<unk>", 0.0, UNKNOWN)]
SPECIAL_PIECES += [(text, 0.0, CONTROL) for text in ("<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>")]
SPECIAL_PIECES += [(text, 0.0, USER_DEFINED) for text in ("<eop>", ".", "(", ")", '"', "-", "–", "£", "€")]
WORDS = ["▁the", "▁cat", "▁sat", "▁on", "▁mat", "▁who", "▁is", "▁it", "ing", "ed", "er", "▁a", "▁un", "▁19"]
WORDS += ["19,", "9,"]
LETTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,?!':;你好世界"
STAND_IN = SPECIAL_PIECES + [(word, -4.0 - index / 8, NORMAL) for index, word in enumerate(WORDS)]
STAND_IN += [(letter, -8.0 - index / 16, NORMAL) for index, letter in enumerate(LETTERS)]

Pieces = Sequence[tuple[str, float, int]]


def repository(
    folder: Path, kind: str, labels: Sequence[str] = (), form: str = "safetensors", vocabulary: Path | None = None
) -> Path:
    """A repository of one kind in `folder`; `vocabulary` is a real spiece.model to copy in."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    if vocabulary is None:
        (folder / "spiece.model").write_bytes(spiece(STAND_IN))
        size = len(STAND_IN)
    else:
        shutil.copy(vocabulary, folder / "spiece.model")
        size = count(vocabulary.read_bytes())
    named = {"id2label": dict(enumerate(labels))} if labels else {}
    config = transformers.XLNetConfig(
        vocab_size=size, d_model=16, n_layer=2, n_head=2, d_inner=32, mem_len=None, **named
    )
    torch.manual_seed(7)
    model = getattr(transformers, CLASSES[kind])(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    write(model, folder, form)
    (folder / "tokenizer_config.json").write_text("{}", encoding="utf-8")  # as textattack's are
    return folder


def write(model: Any, folder: Path, form: str = "safetensors") -> None:
    """config.json and the weights of a reference model, whose config need not be one that it would save."""
    said = model.config.to_dict() | {"architectures": [type(model).__name__], "untie_r": True, "model_type": "xlnet"}
    if form == "old":
        said["n_token"] = said.pop("vocab_size")
    (folder / "config.json").write_text(json.dumps(said, indent=2, default=str), encoding="utf-8")
    state = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
    if form == "safetensors":  # tied tensors are left out
        tied = said["tie_word_embeddings"]
        kept = {key: tensor for key, tensor in state.items() if not (tied and key == "lm_loss.weight")}
        save_file(kept, folder / "model.safetensors", {"format": "pt"})
    else:
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "bin")


def spiece(pieces: Pieces, algorithm: int = 1, charsmap: bytes = b"", unknown: int = 0, **trainer: int) -> bytes:
    """A SentencePiece model; `trainer` has further fields of the trainer's part, as n3=..., by number."""
    body = b"".join(
        _field(1, _field(1, text.encode()) + struct.pack("<Bf", 2 << 3 | 5, score) + _field(3, kind))
        for text, score, kind in pieces
    )
    more = b"".join(_field(int(name[1:]), value) for name, value in trainer.items())
    body += _field(2, _field(3, algorithm) + more + _field(40, unknown) + _field(45, pieces[unknown][0].encode()))
    rules = _field(1, b"nmt_nfkc") + (_field(2, charsmap) if charsmap else b"")
    return body + _field(3, rules + _field(3, 1) + _field(4, 1) + _field(5, 1))


def convert(source: Path, folder: Path, lower: bool = False, keep_accents: bool = False) -> None:
    """tokenizer.json as the reference's own converter made those of XLNet's repositories, in 2020, of `source`.

    It did not then take user-defined pieces out of the text; specials were added by the tokenizer's class.
    """
    from tokenizers import AddedToken
    from transformers.convert_slow_tokenizer import XLNetConverter

    from zoo.models.xlnet import SPECIALS
    from zoo.tokenizers.sentencepiece import read_model

    model = read_model(source)
    kinds = [NORMAL if piece.type == USER_DEFINED else piece.type for piece in model.pieces]
    pieces = [SimpleNamespace(piece=p.text, score=p.score, type=k) for p, k in zip(model.pieces, kinds, strict=True)]
    index = {piece.piece: number for number, piece in enumerate(pieces)}
    converter = object.__new__(XLNetConverter)  # it would read the file with the protobuf package
    converter.original_tokenizer = SimpleNamespace(
        do_lower_case=lower, keep_accents=keep_accents, convert_tokens_to_ids=index.get
    )
    converter.proto = SimpleNamespace(
        pieces=pieces,
        normalizer_spec=SimpleNamespace(precompiled_charsmap=model.charsmap),
        trainer_spec=SimpleNamespace(model_type=1, unk_id=model.unknown),
    )
    pipeline = converter.converted()
    mask = AddedToken("<mask>", lstrip=True, normalized=True, special=True)
    pipeline.add_special_tokens([mask, *(token for token in SPECIALS if token != "<mask>")])
    folder.mkdir(parents=True, exist_ok=True)
    pipeline.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text('{"model_type": "xlnet"}', encoding="utf-8")


def count(data: bytes) -> int:
    """How many pieces a SentencePiece model has: its fields of number 1."""
    at = pieces = 0
    while at < len(data):
        number, size, shift = data[at] >> 3, 0, 0
        at += 1
        while True:
            size |= (data[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 0x80:
                break
        pieces += number == 1
        at += size
    return pieces


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _number(number << 3) + _number(value)
    return _number(number << 3 | 2) + _number(len(value)) + value


def _number(value: int) -> bytes:
    low = value & 0x7F
    return bytes([low]) if value < 0x80 else bytes([low | 0x80]) + _number(value >> 7)
