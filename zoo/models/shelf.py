"""All families with what computes them: `FAMILIES` in the order of the catalog, `family(name)` for one."""

from __future__ import annotations

from zoo import families
from zoo.family import Family
from zoo.models import bert, elmo, gpt, gpt2, ulmfit, xlnet

_BY_NAME = {module.FAMILY.name: module.FAMILY for module in (bert, elmo, gpt, gpt2, ulmfit, xlnet)}
FAMILIES: tuple[Family, ...] = tuple(_BY_NAME[card.name] for card in families.FAMILIES)


def family(name: str) -> Family:
    """The family of that name. Raises KeyError."""
    return _BY_NAME[name]
