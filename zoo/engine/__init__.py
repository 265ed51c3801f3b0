"""The shared inference layer: models in memory, batching, windows, timings. It knows heads, not families or tasks."""

from zoo.engine.answers import Chosen, Classified, Compared, Generated, Spanned, SpanWindow
from zoo.engine.engine import Engine
from zoo.engine.reading import Read

__all__ = ["Chosen", "Classified", "Compared", "Engine", "Generated", "Read", "SpanWindow", "Spanned"]
