"""How the next token of a text is chosen; zoo/generation.py chooses it."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.errors import BadParameter


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Temperature 0 takes the best one; `no_repeat` forbids n-grams said before."""

    temperature: float = 0.0
    top_k: int = 0  # 0 keeps all
    top_p: float = 1.0  # nucleus (Holtzman et al. 2020)
    seed: int = 0
    no_repeat: int = 0  # 0 allows repetition (Paulus et al. 2018, section 2.5)

    def __post_init__(self) -> None:
        """Check the ranges. Raises BadParameter."""
        for name, value, low, high in (
            ("temperature", self.temperature, 0.0, 10.0),
            ("top_k", self.top_k, 0, 1_000_000),
            ("top_p", self.top_p, 0.0, 1.0),
            ("seed", self.seed, 0, 2**63 - 1),
            ("no_repeat", self.no_repeat, 0, 100),
        ):
            if not low <= value <= high:
                raise BadParameter(f"{name} is {value}; it must be from {low} to {high}.")
        if self.top_p == 0:
            raise BadParameter("top_p is 0, which keeps no token; it must be above 0.")
