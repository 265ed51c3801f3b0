"""Blind votes of the tab Compare: the buttons, what a vote does, and how the models stand then."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from tasks import TASKS, votes, votes_hub
from tasks.tabs import views
from tasks.tabs.asking import guarded

LETTERS = "ABCD"
VOTE = """element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-vote]");
  if (!button) return;
  for (const one of element.querySelectorAll("[data-vote]")) one.disabled = true;
  button.setAttribute("aria-pressed", "true");
  trigger("select", {value: button.dataset.vote});
});"""


def ballot(count: int) -> str:
    """Ways to vote on so many columns."""
    choices = [(f"Model {letter} is best", str(i)) for i, letter in enumerate(LETTERS[:count])]
    choices += [("All alike", votes.ALIKE), ("None is good", votes.NONE)]
    buttons = "".join(
        f'<button type="button" class="mz-toggle" data-vote="{value}">{views.esc(said)}</button>'
        for said, value in choices
    )
    return f'<p class="mz-ballot" role="group" aria-label="Your vote">{buttons}</p>'


def vote(event: gr.EventData, seen: tuple[str, tuple[str, ...]] | None) -> tuple[str, None]:
    """Keep a vote, then tell the names and how the models stand. A second vote on the same columns does nothing."""
    if seen is None:
        return gr.skip(), None

    def keep() -> str:
        task, models = seen
        said = str(getattr(event, "value", ""))
        winner = models[int(said)] if said.isdecimal() and int(said) < len(models) else said
        kept = votes.Votes()
        votes_hub.keep(kept, votes.Vote(task, models, winner))
        return _standings(task, models, winner, votes.ranking(kept.all(task)))

    return guarded("votes", keep), None


def _standings(task: str, models: Sequence[str], winner: str, ranked: Sequence[votes.Strength]) -> str:
    names = "; ".join(f"Model {letter} was {name}" for letter, name in zip(LETTERS[: len(models)], models, strict=True))
    chosen = {votes.ALIKE: "all alike", votes.NONE: "none"}.get(winner, winner)
    rows = "".join(
        f"<tr><td>{views.esc(one.model)}</td><td>{one.mean:+.2f}</td><td>{one.low:+.2f} to {one.high:+.2f}</td>"
        f"<td>{one.votes}</td></tr>"
        for one in ranked
    )
    return (
        f'<section class="mz-result" role="status"><p class="mz-why-of">{views.esc(names)}. You chose '
        f"<b>{views.esc(chosen)}</b>.</p>"
        f'<h4 class="mz-why-field">All votes on {views.esc(TASKS[task].title)}</h4>'
        '<div class="mz-scroll"><table><thead>'
        "<tr><th>Model</th><th>Strength</th><th>95 % interval</th><th>Votes</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
        '<p class="mz-time">On the scale of Bradley and Terry 1 more wins about 73 of 100 duels.</p></section>'
    )
