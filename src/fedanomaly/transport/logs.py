"""How log lines look; what is in them is said where they are written.

Every line has an event, which is a stable name with dashes, a level and a time.
No line holds a key, a passphrase, a token, a statistic, a score or a row.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from fedanomaly.transport.failures import plain_text

MAX_TEXT = 1000
Style = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]


def configure(style: Style, level: Level = "info") -> None:
    """Send log lines to stderr: coloured text for people, JSON for machines.

    What the web server and the retry library would say, our own events say
    already; a traceback of theirs ends in the text of an error, which may quote a row.

    Parameters
    ----------
    style : {"text", "json"}
        How they look.
    level : {"debug", "info", "warning", "error"}
        The least that is written.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    renderer: Any = structlog.processors.JSONRenderer()
    if style == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _printable,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # the one of the moment
        cache_logger_on_first_use=False,
    )


def _printable(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep what other parties wrote from acting on a terminal."""
    return {
        key: plain_text(value, MAX_TEXT) if isinstance(value, str) and key != "exception" else value
        for key, value in event.items()
    }
