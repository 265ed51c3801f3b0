"""The shared inference layer: models in memory, batching, windows, timings. It knows heads, not families or tasks."""

from typing import TYPE_CHECKING

from zoo.engine.answers import Chosen, Classified, Compared, Generated, Read, Spanned, SpanWindow
from zoo.later import lazily

if TYPE_CHECKING:
    from zoo.engine.engine import Engine
else:
    __getattr__ = lazily(__name__, {"Engine": "zoo.engine.engine"})

__all__ = ["Chosen", "Classified", "Compared", "Engine", "Generated", "Read", "SpanWindow", "Spanned"]
