"""From a parsed document to the parts of a schema: every value is held against its type first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedanomaly.errors import SchemaError
from fedanomaly.features.column import Column
from fedanomaly.features.window import Window

VERSIONS = (1, 2)


def parts_of(document: object) -> tuple[tuple[Column, ...], tuple[Window, ...]]:
    """Return the columns and windows of a schema that was JSON or TOML.

    Raises
    ------
    SchemaError
        If it is no schema, or one of another version.
    """
    known = {"version", "columns", "windows"}
    if not isinstance(document, Mapping) or not {"version"} < set(document) <= known:
        raise SchemaError("a schema has a version and columns, may have windows, and nothing else")
    version = document["version"]
    if isinstance(version, bool) or version not in VERSIONS:
        raise SchemaError("the schema has a version that is not known here", hint="upgrade this installation")
    columns, windows = document.get("columns", []), document.get("windows", [])
    if not isinstance(columns, list) or not isinstance(windows, list):
        raise SchemaError("the columns and the windows of a schema are lists")
    fields = tuple(
        Column(**_values("column", place, entry, _COLUMN, ("name", "kind")))
        for place, entry in enumerate(columns, start=1)
    )
    parts = tuple(
        Window(**_values("window", place, _listed(entry), _WINDOW, ("entity", "time", "statistics", "spans")))
        for place, entry in enumerate(windows, start=1)
    )
    needed = max([2 if parts else 1, *(field.version for field in fields)])
    if version < needed:
        raise SchemaError(f"the schema says more than version {version} can", hint=f"write version = {needed}")
    return fields, parts


def _listed(entry: object) -> object:
    """Return a window whose entity is a list; a single column may stand alone."""
    if isinstance(entry, Mapping) and isinstance(entry.get("entity"), str):
        return {**entry, "entity": [entry["entity"]]}
    return entry


def _values(
    what: str, place: int, entry: object, known: Mapping[str, _Form], needed: tuple[str, ...]
) -> dict[str, Any]:
    if not isinstance(entry, Mapping) or not set(needed) <= set(entry) <= set(known):
        raise SchemaError(
            f"{what} {place} of the schema must have {' and '.join(needed)}, and may have {', '.join(sorted(known))}"
        )
    out: dict[str, Any] = {}
    for key, value in entry.items():
        fits, form, title = known[key]
        if not fits(value):
            raise SchemaError(f"{what} {place} of the schema: {key} must be {title}")
        out[key] = form(value)
    return out


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    # An integer beyond a float's range is not one that a bound could be.
    return isinstance(value, float) or (isinstance(value, int) and _is_count(value) and abs(value) < 2**1000)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


_Form = tuple[Callable[[object], bool], Callable[[Any], Any], str]

_TEXT: _Form = (_is_text, str, "text")
_TEXTS: _Form = (_is_texts, tuple, "a list of text")
_COUNT: _Form = (_is_count, int, "a whole number")
_NUMBER: _Form = (_is_number, float, "a number")
_PAIR: _Form = (_is_pair, tuple, "two numbers")

_COLUMN: dict[str, _Form] = {
    "name": _TEXT,
    "kind": _TEXT,
    "levels": _TEXTS,
    "lower": _NUMBER,
    "upper": _NUMBER,
    "clip": _PAIR,
    "transform": _TEXT,
    "encode": _TEXT,
    "buckets": _COUNT,
    "parts": _TEXTS,
    "length": _COUNT,
    "separator": _TEXT,
}
_WINDOW: dict[str, _Form] = {
    "entity": _TEXTS,
    "time": _TEXT,
    "value": _TEXT,
    "statistics": _TEXTS,
    "spans": _TEXTS,
    "delay": _TEXT,
    "late": _TEXT,
    "name": _TEXT,
}
