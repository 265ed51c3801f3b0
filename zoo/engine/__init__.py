"""The shared inference layer: models in memory, batching, windows, timings. It knows heads, not families or tasks."""

from zoo.engine.engine import Chosen, Classified, Compared, Engine, Generated, Spanned, SpanWindow
from zoo.engine.reading import Read

__all__ = ["Chosen", "Classified", "Compared", "Engine", "Generated", "Read", "SpanWindow", "Spanned"]
