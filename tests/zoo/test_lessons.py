"""What may be learnt from, what a run is watched by, and what is kept for the figures: no row is two of these."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import zoo
from tests import minis, tiny_data
from zoo.training import lessons


def test_a_run_is_watched_by_rows_that_it_does_not_learn_and_that_no_figure_is_of(tmp_path: Path) -> None:
    """Phrases of a sentence that is kept apart are kept apart as well."""
    folder = tiny_data.write(tmp_path / "data")
    sentences = [f"a long and winding tale number {n:03} , told too slowly" for n in range(200)]
    parts = [" ".join(one.split()[:7]) for one in sentences]  # each a part of one sentence
    for name, texts in (("rotten_tomatoes", sentences), ("sst2_train", parts)):
        with gzip.open(folder / f"classification/{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps({"text": one, "label": "negative"}) + "\n" for one in texts)
    taught, apart = lessons.split_phrases(folder)
    kept = {row["text"] for row in apart}
    assert 2 <= len(kept) < 30 and kept < set(sentences)
    assert {row["text"] for row in taught} == set(sentences) - kept | {
        part for part, whole in zip(parts, sentences, strict=True) if whole not in kept
    }
    tokenizer = zoo.load(minis.bert_checkpoint(tmp_path / "model")).tokenizer
    amounts = lessons.Amounts()
    learnt = {
        (lesson.head, example.encoding.ids)
        for lesson in lessons.teach(folder, tokenizer, amounts, 0)
        for example in lesson.examples
    }
    watched = lessons.watch(folder, tokenizer, amounts, 0)
    assert set(watched) == {"nli", "qa", "topic", "sentiment"}
    for head in ("nli", "topic", "sentiment"):
        assert not any((head, example.encoding.ids) in learnt for example in watched[head]), head
    figures = lessons.rows_of(folder, "nli/snli_dev.jsonl.gz", "classification/ag_news_test.jsonl.gz")
    rows = [row for row in lessons.nli_rows(folder)[0] + lessons.topic_rows(folder) if lessons.is_watched(row)]
    assert rows and not set(map(lessons.words_of, figures)) & set(map(lessons.words_of, rows))
