"""The page: an answer -> the screen. The only package with Gradio beside app.py.

Gradio reads these settings once, when it is first imported, so they are set here, before any module of this package
imports it: no call home, and no report over the last 10,000 events after every single one.
"""

from __future__ import annotations

import os

for _name, _value in {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000",
    "GRADIO_ANALYTICS_MAX_EVENTS": "200",
}.items():
    os.environ.setdefault(_name, _value)
