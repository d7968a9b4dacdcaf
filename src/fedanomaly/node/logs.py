"""How log lines look; what is in them is said where they are written."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from fedanomaly.transport import plain_text

MAX_TEXT = 1000


def configure(style: Literal["text", "json"]) -> None:
    """Send log lines to stderr: coloured text for people, JSON for machines."""
    renderer: Any = structlog.processors.JSONRenderer()
    if style == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _printable,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _printable(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep what other parties wrote from acting on a terminal."""
    return {key: plain_text(value, MAX_TEXT) if isinstance(value, str) else value for key, value in event.items()}
