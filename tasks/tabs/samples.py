"""Small sets of rows with right answers for the tab "Batch", so that a visitor can press Run at once. Own wording."""

from __future__ import annotations

from collections.abc import Mapping


def _table(*rows: tuple[str, ...]) -> str:
    return "\n".join("\t".join(row) for row in rows)


SAMPLES: Mapping[str, str] = {
    "classify": _table(
        ("text", "label"),
        ("I laughed from the first scene to the last.", "positive"),
        ("Two hours that felt like six.", "negative"),
        ("The plot is thin, but the cast carries it with charm.", "positive"),
        ("Beautiful pictures, and nothing whatsoever behind them.", "negative"),
        ("Not bad at all for a first film.", "positive"),
        ("If you have trouble sleeping, this is the film for you.", "negative"),
        ("A quiet story that stays with you for days.", "positive"),
        ("I wanted to like it far more than I did.", "negative"),
    ),
    "nli": _table(
        ("premise", "hypothesis", "label"),
        ("A woman is slicing bread in her kitchen.", "Somebody is preparing food.", "entailment"),
        ("Two boys are asleep on a train.", "The boys are playing chess.", "contradiction"),
        ("A man is carrying a ladder.", "The man wants to paint his house.", "neutral"),
        ("All shops were closed that day.", "No shop was open that day.", "entailment"),
        ("The dog did not chase the cat.", "The dog chased the cat.", "contradiction"),
        ("A girl in a red coat waits for the bus.", "The girl is late for school.", "neutral"),
        ("The lawyer thanked the doctor.", "The doctor thanked the lawyer.", "neutral"),
        ("Three people are sitting around a fire.", "More than one person is sitting.", "entailment"),
    ),
    "qa": _table(
        ("question", "context", "answer"),
        ("Where is the library?", "The old mill burned down. The library stands beside the station now.",
         "beside the station"),
        ("When was the bridge opened?", "Work on the bridge began in 1911, and it was opened in 1914.", "1914"),
        ("Who designed the garden?", "Clara Holm designed the garden; her brother built the wall around it.",
         "Clara Holm"),
        ("How many rooms are there?", "The inn has twelve rooms, nine of them with a view of the lake.", "twelve"),
        ("What do the bees prefer?", "Wasps come for the fruit, while the bees prefer the clover.", "the clover"),
        ("Why was the race stopped?", "The race was stopped because of thick fog on the upper track.",
         "thick fog on the upper track"),
        ("Which language did she learn first?", "She learned Danish first, then Polish, and Greek in old age.",
         "Danish"),
        ("How long is the tunnel?", "The tunnel is 840 metres long and lies 60 metres below the river.", "840 metres"),
    ),
    "summarize": _table(
        ("text", "summary"),
        ("The town council met on Monday to speak about the old swimming pool. The roof leaks, and repairs would cost "
         "more than a new building. A vote will follow in May.", "The council may replace the old pool."),
        ("Storks build their nests on roofs and poles. They come back to the same nest each spring, and add to it "
         "until it weighs as much as a small car.", "Storks return to the same nest and make it ever larger."),
        ("The bakery on the corner has changed hands. The new owner keeps the old recipes, opens an hour earlier, and "
         "sells coffee as well.", "The bakery has a new owner, longer hours and coffee."),
        ("Glass is made from sand, soda and lime. The mixture melts at a high heat and can be blown, pressed or drawn "
         "while it cools.", "Glass is shaped from molten sand, soda and lime."),
        ("After four days of rain the river rose above its banks. Fields were flooded, but the village itself stayed "
         "dry behind its new wall.", "A flood covered fields but spared the village."),
        ("Early clocks had a single hand for the hour. Only when pendulums made them exact did makers add a second one "
         "for the minutes.", "Clocks got a minute hand once pendulums made them exact."),
        ("The museum lends its telescopes to schools for a week at a time. Teachers get a short course first, and "
         "pupils write down what they see.", "The museum lends telescopes to schools."),
        ("Tea was once so dear that it was kept under lock and key. As trade grew the price fell, and it became the "
         "drink of every kitchen.", "Tea turned from a luxury into an everyday drink."),
    ),
}  # fmt: skip
