"""Text -> words with character offsets, for families that read words: spaCy's English rules, or a plain expression.

spaCy's tokenizer without any model ("blank") is what AllenNLP and fastai cut English text with. It is optional. Without
it the expression below cuts the same way in running text, with these differences: abbreviations ("U.S.", "e.g."),
emoticons, web addresses and units ("10km") fall into parts, and of contractions only "n't" and endings after an
apostrophe are known ("cannot" and "gonna" stay whole).

spaCy's time grows with the square of a run of marks without white space (40,000 of them take minutes). Runs of more
than LONGEST characters are no English words, and are cut by the expression in either case.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

Spans = list[tuple[int, int]]

LONGEST = 200
HALF = re.compile("[\ud800-\udfff]")  # half of a character of UTF-16, which no text should have
LONG_RUN = re.compile(rf"\S{{{LONGEST + 1},}}")
WORD = re.compile(
    r"""
      \w+?(?=n['’]t\b)                    # "do" of "don't"
    | n['’]t\b                            # and its rest
    | ['’](?:s|m|d|re|ve|ll)\b            # endings: "'s", "'ll"
    | \d+(?:[.,:]\d+)*                    # 1,000.50 and 12:30
    | (?:\w[\u0300-\u036F]*)+             # letters, with accents and digits among them
    | \.{2,} | -{2,}                      # ellipses and dashes
    | [^\w\s]                             # any other mark alone
    """,
    re.VERBOSE | re.IGNORECASE,
)


def split(text: str) -> Spans:
    """(begin, end) of every word and mark of `text`, in order; white space belongs to none."""
    return _rules()[1](text)


def splitter() -> str:
    """Which rules `split` goes by here, in words a report can print."""
    return _rules()[0]


def by_expression(text: str) -> Spans:
    """The words of `text` by WORD alone."""
    return [match.span() for match in WORD.finditer(text)]


@cache
def _rules() -> tuple[str, Callable[[str], Spans]]:
    """The name of the rules in use and the function, chosen once."""
    try:
        import spacy
    except ImportError:
        return "a regular expression (spaCy is not installed)", by_expression
    cut = spacy.blank("en").tokenizer

    def by_spacy(text: str) -> Spans:
        text = HALF.sub("\N{REPLACEMENT CHARACTER}", text)  # as long, and spaCy can take it
        spans, done = [], 0
        for run in (*LONG_RUN.finditer(text), None):
            part = text[done : run.start() if run else len(text)]
            spans += [(done + word.idx, done + word.idx + len(word)) for word in cut(part) if not word.is_space]
            if run is not None:
                spans += [(run.start() + begin, run.start() + end) for begin, end in by_expression(run[0])]
                done = run.end()
        return spans

    return f"spaCy {spacy.__version__}, English", by_spacy
