"""Strings that tokenizers get wrong: seeded mixtures of words and unicode, and a list of known traps."""

from __future__ import annotations

import random
from collections.abc import Sequence

NASTY = [
    "",
    " ",
    "   \t\n\r  ",
    "a",
    "\n",
    "Hello, world!",
    "HELLO hello HeLLo",
    "don't can't I'll we've they're he'd I'm it's O'Neill's 'quoted' ''double''",
    "DON'T CAN'T I'LL",  # the contractions of GPT-2 are lower case only
    "naïve café Ångström Zürich São Paulo Łódź İstanbul ß ẞ ﬁ ﬂ ŉ ǆ",
    "cafe\u0301 n\u0303 a\u0308\u0304 \u0301 e\u0301\u0301\u0301",  # accents as characters of their own
    "İ I ı i ΑΣ Σας ΌΣΟΣ",  # letters whose lower case depends, or is longer
    "👍 👍🏽 👩\u200d👩\u200d👧\u200d👦 🏳\ufe0f\u200d🌈 🇩🇪🇫🇷 ❤\ufe0f ☺",
    "😀😀😀text😀",
    "你好，世界！我爱北京天安门。",
    "東京は日本の首都です。カタカナ ひらがな ﾊﾝｶｸ",
    "한국어 텍스트 \u1112\u1161\u11ab",
    "𠀀𠮷野家 㐀 豈",  # Chinese characters outside the first plane, and compatibility forms
    "مرحبا بالعالم שלום עולם \u202eright to left\u202c \u200f",
    "Привет, мир! Ёлка. Γειά σου Κόσμε",
    "नमस्ते दुनिया สวัสดีชาวโลก ភាសាខ្មែរ",
    "a\u00a0b\u2003c\u3000d\u202fe\u205ff",  # spaces that are not 0x20
    "zero\u200bwidth\u200cjoin\u200ders\ufeffhere\u2060too\u00ad",
    "\x00\x01\x02\x07\x08\x0b\x0c\x1b\x1f\x7f\x80\x85\x9f control",
    "a\x00b\ufffdc\ufffed\U000e0041e\ue000f",
    "line\u2028separator\u2029paragraph\x85next",
    "tab\tseparated\tvalues\r\nwindows\r\nlines\r\n\r\n",
    "  leading and trailing  ",
    "many      spaces     here\n\n\n\nand lines",
    "1,234,567.89 $1,000 €50 3.14159 1e-10 0x1F 50% №5 ½ ² ³ ¼ ① Ⅳ ٣ ५",
    "2024-01-31T23:59:59Z +1 (555) 123-4567 192.168.0.1",
    "[CLS] [SEP] [MASK] [PAD] [UNK] [unused1]",
    "text[SEP]text [SEP]text[ SEP ] [sep] [ＳＥＰ] [[SEP]]",
    "the [MASK] sat.[MASK][MASK]",
    "<|endoftext|> text<|endoftext|>text <|endoftext|> <|END|>",
    "<s> </s> <pad> <unk> <mask> ##ing ##",
    "!!!???...,,,;;;:::---___***///\\\\\\|||~~~```^^^",
    "«quotes» “curly” ‘single’ „low“ —dash– …ellipsis • bullet ™ © ® § ¶ † ‡",
    "$+<=>^`|~ ¢£¥ ×÷± ←→↑↓ ∀∃∈∑∫√∞ ≤≥≠",
    "http://example.com/path?query=a&b=c#frag user.name+tag@example.co.uk",
    "def f(x):\n\treturn x ** 2  # comment\n",
    "snake_case camelCase kebab-case SCREAMING_CASE",
    "x" * 100,
    "x" * 101,  # one more than a word of WordPiece may have
    "\u4e00" * 300,
    "é" * 101,
    "a" * 50_000,
    "word " * 10_000,
    "The quick brown fox jumps over the lazy dog. " * 1_111 + "12345",
    "。" * 5_000,
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒎𝒂𝒕𝒉 ＦＵＬＬ ｗｉｄｔｈ ﷽ ǅ ₀₁₂",
    "z̷͔̈́a̴̖͝l̵̰̈́g̶̝̈́o̷̰̓ t̸e̶x̴t̵",
]

RANGES = [
    (0x00, 0x1F),
    (0x20, 0x7E),
    (0x7F, 0xA0),
    (0xA1, 0x24F),
    (0x250, 0x36F),
    (0x370, 0x52F),
    (0x590, 0x6FF),
    (0x900, 0xDFF),
    (0xE00, 0xEFF),
    (0x1100, 0x11FF),
    (0x1E00, 0x1FFF),
    (0x2000, 0x206F),
    (0x2070, 0x218F),
    (0x2190, 0x2BFF),
    (0x3000, 0x30FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xE000, 0xE0FF),
    (0xF900, 0xFAFF),
    (0xFB00, 0xFDFF),
    (0xFE00, 0xFEFF),
    (0xFF00, 0xFFFF),
    (0x1D400, 0x1D7FF),
    (0x1F1E6, 0x1F1FF),
    (0x1F300, 0x1FAFF),
    (0x20000, 0x2A6DF),
    (0xE0000, 0xE01FF),
]
GAPS = ["", "", " ", " ", " ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "-", "'", ", ", ". "]
MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¿«»—…“”。，、？！"
SPECIALS = ["[SEP]", "[CLS]", "[MASK]", "[UNK]", "[PAD]", "<|endoftext|>", "[sep]", "##s"]


def varied(words: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` strings of up to twelve parts: words in every case, scripts, marks, numbers, spaces, special tokens."""
    chance = random.Random(seed)
    return ["".join(_part(chance, words) for _ in range(chance.randint(1, 12))) for _ in range(count)]


def _part(chance: random.Random, words: Sequence[str]) -> str:
    kind = chance.random()
    if kind < 0.45:
        word = chance.choice(words)
        part = chance.choice([word, word, word.title(), word.upper(), word + chance.choice(words)])
    elif kind < 0.75:
        low, high = chance.choice(RANGES)
        part = "".join(chr(chance.randint(low, high)) for _ in range(chance.randint(1, 8)))
    elif kind < 0.85:
        part = "".join(chance.choice(MARKS) for _ in range(chance.randint(1, 6)))
    elif kind < 0.95:
        part = chance.choice(["{:,}", "{}", "{:.2f}", "{:e}", "0{}"]).format(chance.randint(0, 10**9))
    else:
        part = chance.choice(SPECIALS)
    return part + chance.choice(GAPS)
