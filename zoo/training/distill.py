"""Soft labels: what a stronger model, the teacher, says of texts, for smaller ones to learn from.

`python -m zoo train soft-labels --from bert-mini --data DATA --out FOLDER` writes a file for each of three heads: the
rows that everybody learns from, and texts that nobody labelled (Hinton et al. 2015, "Distilling the Knowledge in a
Neural Network"; unlabelled text as in Turc et al. 2019). `--soft FOLDER` lets a recipe learn from them.
"""

from __future__ import annotations

import gzip
import json
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm import tqdm

from zoo.engine import Engine
from zoo.errors import Unsupported
from zoo.family import Model
from zoo.opening import load
from zoo.processor import computes_bf16
from zoo.training import finetune, lessons
from zoo.training.loop import replacing
from zoo.training.recipes import Run

DEFAULT = "bert-mini"
HEADS = {"nli": lessons.NLI, "sentiment": lessons.SENTIMENTS, "topic": lessons.TOPICS}
PAIRS = 60_000  # of premises with hypotheses that were not written for them
RANDOM_SHARE = 0.15  # of them, drawn blindly; the others share words
REVIEWS = "classification/nltk_movie_reviews.zip"
WORDS = (5, 40)  # of a sentence of a review
CHUNK = 1024  # rows told to the teacher at once

Row = dict[str, Any]


def soft_labels(run: Run) -> dict[str, float]:
    """Run the recipe; how many rows each file has. A run that was killed goes on where it stopped."""
    source = run.source or DEFAULT
    engine = Engine(open_model=lambda name, progress: _on(load(name, progress), run.device))
    heads = {head: head_with(engine.model(source), labels) for head, labels in HEADS.items()}
    run.out.mkdir(parents=True, exist_ok=True)
    pairs = max(1, round(PAIRS * run.scale)) if not run.tiny else 40
    makers = {
        "nli": lambda: nli_rows(run.data, pairs, run.seed),
        "sentiment": lambda: sentiment_rows(run.data),
        "topic": lambda: lessons.topic_rows(run.data),
    }
    return {f"{head} rows": float(label(engine, source, heads[head], make(), run.out, head, run.device))
            for head, make in makers.items()}  # fmt: skip


def head_with(model: Model, labels: Sequence[str]) -> str:
    """The head that knows these labels. Raises Unsupported."""
    for name, spec in model.heads.items():
        if spec.kind == "classifier" and set(spec.labels) == set(labels):
            return name
    raise Unsupported(f"{model.name} has no head for {', '.join(labels)}. Choose another teacher, such as {DEFAULT}.")


def nli_rows(data: Path, pairs: int, seed: int) -> list[Row]:
    """The rows that teach NLI, then premises of SNLI's training set with hypotheses of other premises."""
    snli, altered, conjunctions = lessons.nli_rows(data)
    return [*snli, *altered, *conjunctions, *mismatched(snli, pairs, seed)]


def sentiment_rows(data: Path) -> list[Row]:
    """The phrases that teach sentiment, then sentences of film reviews."""
    phrases = lessons.sentiment_rows(data)
    with zipfile.ZipFile(data / REVIEWS) as archive:
        texts = [archive.read(name).decode("latin-1") for name in sorted(archive.namelist()) if name.endswith(".txt")]
    sentences = dict.fromkeys(line.strip() for text in texts for line in text.splitlines())
    least, most = WORDS
    rows = [{"text": line} for line in sentences if least <= len(line.split()) <= most]
    held = lessons.held_phrases(data)
    return [*phrases, *lessons.without(lessons.without(rows, held, "text"), phrases, "text")]


def mismatched(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Pairs {premise, hypothesis} of which no two belong together; most share words, the rarer the better."""
    chance = random.Random(seed)
    premises = sorted({row["premise"] for row in rows})
    hypotheses = sorted({row["hypothesis"] for row in rows})
    written_for: dict[str, set[str]] = {}
    for row in rows:
        written_for.setdefault(row["hypothesis"], set()).add(row["premise"])
    index = TfidfVectorizer(binary=True, norm=None, stop_words="english", dtype=np.float32).fit(hypotheses)
    of_words, of_premises = index.transform(hypotheses).T.tocsr(), index.transform(premises)
    alike = round(count * (1 - RANDOM_SHARE))
    each = -(-alike // len(premises))  # for every premise
    found: dict[tuple[str, str], None] = {}
    for begin in range(0, len(premises), 256):
        shared = of_premises[begin : begin + 256] @ of_words  # sparse [256, hypotheses]: sums of squared idf
        for place, premise in enumerate(premises[begin : begin + 256]):
            row = shared[place]
            best = row.indices[np.argsort(-row.data, kind="stable")[: 6 * each]].tolist()
            fitting = [hypotheses[i] for i in best if premise not in written_for[hypotheses[i]]]
            for hypothesis in chance.sample(fitting, min(each, len(fitting))):
                found[premise, hypothesis] = None
    made = chance.sample(sorted(found), min(alike, len(found)))
    while len(made) < count and len(made) < len(premises) * len(hypotheses) // 2:
        pair = (chance.choice(premises), chance.choice(hypotheses))
        if pair[0] not in written_for[pair[1]] and pair not in found:
            found[pair] = None
            made.append(pair)
    chance.shuffle(made)
    return [{"premise": premise, "hypothesis": hypothesis} for premise, hypothesis in made]


def label(
    engine: Engine, source: str, head: str, rows: Sequence[Row], out: Path, name: str, device: str = "cpu"
) -> int:
    """Write OUT/NAME.jsonl.gz: the rows with the teacher's {label: probability} under `probabilities`."""
    whole, part = out / f"{name}.jsonl.gz", out / f"{name}.part.jsonl"
    if whole.is_file():
        return len(rows)
    done = _whole_lines(part)
    with part.open("a", encoding="utf-8") as file, tqdm(total=len(rows), initial=done, unit="row", desc=name) as bar:
        for begin in range(done, len(rows), CHUNK):
            chunk = rows[begin : begin + CHUNK]
            texts = [(row["premise"], row["hypothesis"]) if "premise" in row else (finetune.titled_text(row), None)
                     for row in chunk]  # fmt: skip
            with torch.autocast(device, torch.bfloat16, enabled=computes_bf16(torch.device(device))):
                answers = engine.classify(source, head, texts)
            for row, said in zip(chunk, answers, strict=True):
                told = {label: round(p, 4) for label, p in zip(said.labels, said.probabilities, strict=True)}
                file.write(json.dumps({**row, "probabilities": told}, ensure_ascii=False) + "\n")
            file.flush()
            bar.update(len(chunk))
    with replacing(whole) as fresh, gzip.open(fresh, "wb") as packed:
        packed.write(part.read_bytes())
    part.unlink()
    return len(rows)


def _whole_lines(part: Path) -> int:
    """How many lines a file has that broke off, once what follows the last of them is cut away."""
    if not part.is_file():
        return 0
    text = part.read_bytes()
    end = text.rfind(b"\n") + 1
    if end < len(text):
        part.write_bytes(text[:end])
    return text.count(b"\n")


def _on(model: Model, device: str) -> Model:
    model.network.to(device)
    return model
