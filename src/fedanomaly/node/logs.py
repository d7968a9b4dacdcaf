"""How log lines look; what is in them is said where they are written."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog


def configure(style: Literal["text", "json"]) -> None:
    """Send log lines to stderr: coloured text for people, JSON for machines."""
    renderer: Any = structlog.processors.JSONRenderer()
    if style == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
