"""The shared inference layer: models in memory, batching, windows, timings. It knows heads, not families or tasks."""

from zoo.engine.engine import Chosen, Classified, Compared, Engine, Generated, Read, Spanned, SpanWindow

__all__ = ["Chosen", "Classified", "Compared", "Engine", "Generated", "Read", "SpanWindow", "Spanned"]
