"""Examples of each task, by phenomenon: what they show, and what a visitor may look for in the answer.

The first of a task is on the screen on arrival, with its saved result. After a change here, run
`python -m tasks.tabs.saved`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """Texts in the order of the task's fields. `head` is the one to ask, where a model has several for the task."""

    name: str
    hint: str  # under the name on the chip
    look_for: str
    texts: tuple[str, ...]
    head: str = ""


APOLLO = (
    "Apollo 11 was the first mission to land people on the Moon. Neil Armstrong and Buzz Aldrin landed in the lunar "
    "module Eagle on July 20, 1969, and walked on the surface for about two and a quarter hours. Michael Collins "
    "stayed in orbit in the command module Columbia. The crew returned to Earth on July 24 and spent three weeks in "
    "quarantine."
)

ALICE = (
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or "
    "twice she had peeped into the book her sister was reading, but it had no pictures or conversations in it, “and "
    "what is the use of a book,” thought Alice “without pictures or conversations?”\n\n"
    "So she was considering in her own mind (as well as she could, for the hot day made her feel very sleepy and "
    "stupid), whether the pleasure of making a daisy-chain would be worth the trouble of getting up and picking the "
    "daisies, when suddenly a White Rabbit with pink eyes ran close by her.\n\n"
    "There was nothing so very remarkable in that; nor did Alice think it so very much out of the way to hear the "
    "Rabbit say to itself, “Oh dear! Oh dear! I shall be late!” (when she thought it over afterwards, it occurred to "
    "her that she ought to have wondered at this, but at the time it all seemed quite natural); but when the Rabbit "
    "actually took a watch out of its waistcoat-pocket, and looked at it, and then hurried on, Alice started to her "
    "feet, for it flashed across her mind that she had never before seen a rabbit with either a waistcoat-pocket, or "
    "a watch to take out of it, and burning with curiosity, she ran across the field after it, and fortunately was "
    "just in time to see it pop down a large rabbit-hole under the hedge.\n\n"
    "In another moment down went Alice after it, never once considering how in the world she was to get out again."
)

FALLING = (
    "The rabbit-hole went straight on like a tunnel for some way, and then dipped suddenly down, so suddenly that "
    "Alice had not a moment to think about stopping herself before she found herself falling down a very deep well.\n\n"
    "Either the well was very deep, or she fell very slowly, for she had plenty of time as she went down to look "
    "about her and to wonder what was going to happen next. First, she tried to look down and make out what she was "
    "coming to, but it was too dark to see anything; then she looked at the sides of the well, and noticed that they "
    "were filled with cupboards and book-shelves; here and there she saw maps and pictures hung upon pegs. She took "
    "down a jar from one of the shelves as she passed; it was labelled “ORANGE MARMALADE”, but to her great "
    "disappointment it was empty: she did not like to drop the jar for fear of killing somebody underneath, so "
    "managed to put it into one of the cupboards as she fell past it."
)

VOLCANO = (
    "Mount Vesuvius is a volcano on the Gulf of Naples in Italy, about nine kilometres east of Naples. It is best "
    "known for its eruption in AD 79, which destroyed the Roman cities of Pompeii and Herculaneum. More than one "
    "thousand people are known to have died, though the exact number of victims is not known. The only surviving "
    "account by a witness is in two letters of Pliny the Younger to the historian Tacitus. The volcano has erupted "
    "many times since, the last time in 1944. Today about three million people live near enough to be affected by "
    "an eruption, which makes it one of the most dangerous volcanoes in the world."
)

COFFEE = (
    "Coffee is a drink made from roasted coffee beans. The plant comes from tropical Africa, and the drink is first "
    "documented in the Sufi shrines of Yemen in the fifteenth century. From there it spread to the Middle East, to "
    "Persia and Turkey, and by the seventeenth century to the cities of Europe, where coffee houses became places "
    "for news and for trade. Today it is grown in more than seventy countries, mostly near the equator. Brazil is "
    "the largest producer."
)

EXAMPLES: dict[str, tuple[Example, ...]] = {
    "summarize": (
        Example(
            "Encyclopedia",
            "a volcano",
            "The model was only trained to guess the next word; “TL;DR:” alone makes it go on as if it summed up. "
            "The embedded one is tiny and mostly gets the tone right, not the facts; GPT-2 in the menu does better.",
            (VOLCANO,),
        ),
        Example(
            "History",
            "coffee spreads",
            "Does the summary name the subject of the whole text, or only that of its last sentence?",
            (COFFEE,),
        ),
        Example(
            "Story",
            "down the rabbit-hole",
            "Stories have no topic sentence. A small model often goes on with the tale instead of summing it up.",
            (ALICE,),
        ),
        Example(
            "Long text",
            "more than it can read",
            "The model reads 512 tokens at most, so the end of the text is left out. The note below the answer says "
            "how much.",
            (f"{ALICE}\n\n{FALLING}",),
        ),
    ),
    "nli": (
        Example(
            "Follows",
            "a broader sentence",
            "Soccer is a sport and males are men: the second sentence only says less than the first.",
            ("A soccer game with multiple males playing.", "Some men are playing a sport."),
        ),
        Example(
            "Negation",
            "one word flips it",
            "All words but one are shared. That one, “not”, must outweigh the rest.",
            ("The museum is open on Mondays.", "The museum is not open on Mondays."),
        ),
        Example(
            "Overlap trap",
            "roles swapped",
            "It does not follow: the actor advised. A model that counts shared words says entailment.",
            ("The lawyer was advised by the actor.", "The lawyer advised the actor."),
        ),
        Example(
            "Maybe",
            "neither yes nor no",
            "Nothing in the first sentence speaks for or against a friend: neutral is right.",
            ("A woman is reading a book in the park.", "The woman is waiting for a friend."),
        ),
        Example(
            "Opposites",
            "without any “not”",
            "A contradiction without a negation: one cannot sleep and run.",
            ("A small child is sleeping in its bed.", "The child is running across the street."),
        ),
        Example(
            "Numbers",
            "has to count",
            "Seven minus four is three. Models of this size compare words and cannot count.",
            ("Four of the seven bridges were closed.", "Three bridges stayed open."),
        ),
    ),
    "qa": (
        Example(
            "Direct",
            "the answer is one name",
            "The question says “the Moon's orbit”, the passage “in orbit”: the words differ, the answer is found.",
            ("Who stayed in the Moon's orbit?", APOLLO),
        ),
        Example(
            "Unanswerable",
            "not in the passage",
            "The passage does not speak of a rocket. “No answer” should win; where it does not, the model guesses.",
            ("Where was the rocket built?", APOLLO),
        ),
        Example(
            "Two dates",
            "must choose the right one",
            "There are two dates in July. Only one is of the return.",
            ("When did the crew come back to Earth?", APOLLO),
        ),
        Example(
            "How long",
            "two durations",
            "Two and a quarter hours, or three weeks? Both answer “how long”.",
            ("How long were the astronauts in quarantine?", APOLLO),
        ),
        Example(
            "Long passage",
            "read in several windows",
            "The passage is longer than the model can read at once: it is read in windows that overlap, and the best "
            "span of all wins.",
            ("What was written on the jar?", f"{ALICE}\n\n{FALLING}"),
        ),
    ),
    "classify": (
        Example(
            "Business news",
            "topic",
            "One label should take nearly all: such sentences are what the model was trained on.",
            ("Shares of the airline fell 4 percent on Monday after it cut its profit forecast for the year.",),
            "topic",
        ),
        Example(
            "Between topics",
            "topic",
            "Sport, business or technology? See how the probability is shared out.",
            ("The football club sold its broadcasting rights to a streaming company for two billion euros.",),
            "topic",
        ),
        Example(
            "Film review",
            "sentiment",
            "Plain praise. The model should be sure.",
            ("A warm, funny and beautifully acted film that stays with you long after the lights go up.",),
            "sentiment",
        ),
        Example(
            "Negation",
            "sentiment",
            "“Bad” is there, but “not … at all” turns it round.",
            ("The new restaurant is not bad at all.",),
            "sentiment",
        ),
        Example(
            "Mixed",
            "sentiment",
            "Praise and blame in one sentence; what comes after “but” weighs more.",
            ("The acting is superb, but the story is a mess and the last hour drags on forever.",),
            "sentiment",
        ),
        Example(
            "Sarcasm",
            "sentiment",
            "Positive words, negative meaning: the hardest kind, and small models fall for it.",
            ("Oh great, another sequel. Just what the world was waiting for.",),
            "sentiment",
        ),
    ),
}
