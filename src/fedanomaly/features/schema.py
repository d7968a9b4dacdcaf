"""What the columns of a federation's data mean: the same file at every member."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from fedanomaly.errors import SchemaError
from fedanomaly.types import item, item_int
from fedanomaly.types.canonical import begin

SCHEMA_VERSION = 1
MOST_FEATURES = 2000
Kind = Literal["numeric", "boolean", "categorical", "time"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the data.

    Parameters
    ----------
    name : str
        Its name in the data.
    kind : {"numeric", "boolean", "categorical", "time"}
        A number; true or false; one of `levels`; a point in time, of which the
        hour of day is used.
    levels : tuple of str
        The levels of a categorical column, one feature each. What is not among
        them counts as none of them.
    lower, upper : float, optional
        Bounds of a numeric column; a reading outside is an error of the data.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise SchemaError("a column has no name")
        if self.kind not in get_args(Kind):
            raise _wrong(self.name, "has an unknown kind", f"use one of {', '.join(get_args(Kind))}")
        if (self.kind == "categorical") != bool(self.levels):
            raise _wrong(self.name, "must have levels if, and only if, it is categorical", "list its levels")
        if len(set(self.levels)) != len(self.levels):
            raise _wrong(self.name, "names a level twice", "list every level once")
        bounds = [bound for bound in (self.lower, self.upper) if bound is not None]
        if bounds and (self.kind != "numeric" or not all(math.isfinite(bound) for bound in bounds)):
            raise _wrong(self.name, "has bounds that are not finite, or is not numeric", "correct or drop them")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise _wrong(self.name, "has bounds that do not rise", "correct them")

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the column gives."""
        if self.kind == "categorical":
            return tuple(f"{self.name}={level}" for level in self.levels)
        if self.kind == "time":
            return (f"{self.name}:hour_sin", f"{self.name}:hour_cos")
        return (self.name,)


@dataclass(frozen=True)
class Schema:
    """The columns that a detector sees, in order.

    Equal schemas have equal digests; a member refuses a job whose digest is not
    that of its own data.

    Parameters
    ----------
    fields : tuple of Column
        At least one; names differ.

    Examples
    --------
    >>> schema = Schema((Column(name="amount", kind="numeric"), Column(name="chip", kind="boolean")))
    >>> schema.feature_names
    ('amount', 'chip')
    >>> Schema.from_toml(schema.to_toml()) == schema
    True
    """

    fields: tuple[Column, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))
        if not self.fields:
            raise SchemaError("a schema needs at least one column")
        twice = sorted(name for name, times in Counter(self.columns).items() if times > 1)
        if twice:
            raise _wrong(twice[0], "is described twice", "keep one description")
        if self.n_features > MOST_FEATURES:
            raise SchemaError(
                f"the schema gives {self.n_features} features, more than {MOST_FEATURES}",
                hint="leave columns out, or keep the frequent levels only",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns in the data."""
        return tuple(field.name for field in self.fields)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the encoded features."""
        return tuple(name for field in self.fields for name in field.feature_names)

    @property
    def n_features(self) -> int:
        """Number of encoded features: the columns of the matrix."""
        return sum(len(field.feature_names) for field in self.fields)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        out = begin("schema") + item_int("format", SCHEMA_VERSION)
        for field in self.fields:
            out += item("name", field.name.encode()) + item("kind", field.kind.encode())
            out += b"".join(item("level", level.encode()) for level in field.levels)
            for label, bound in (("lower", field.lower), ("upper", field.upper)):
                out += item(label, b"" if bound is None else float(bound).hex().encode())
        return out

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_json(self) -> str:
        """Return the schema as JSON."""
        return json.dumps({"version": SCHEMA_VERSION, "columns": [_plain(field) for field in self.fields]})

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """Read JSON.

        Raises
        ------
        SchemaError
            If it is no schema, or one of another version.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise SchemaError("the schema is not JSON", hint="write it with `fedanomaly schema infer`") from None
        return cls._of(document)

    def to_toml(self) -> str:
        """Return the schema as TOML, for people to read and edit."""
        lines = [f"version = {SCHEMA_VERSION}"]
        for field in self.fields:
            lines += ["", "[[columns]]"] + [f"{key} = {_toml(value)}" for key, value in _plain(field).items()]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> Schema:
        """Read TOML.

        Raises
        ------
        SchemaError
            If it is no schema, or one of another version.
        """
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SchemaError(f"the schema is not TOML: {error}", hint="correct that line") from None
        return cls._of(document)

    @classmethod
    def _of(cls, document: object) -> Schema:
        if not isinstance(document, Mapping) or set(document) != {"version", "columns"}:
            raise SchemaError("a schema has a version and columns, and nothing else")
        if document["version"] != SCHEMA_VERSION:
            raise SchemaError("the schema has a version that is not known here", hint="upgrade this installation")
        if not isinstance(document["columns"], list):
            raise SchemaError("the columns of a schema are a list")
        return cls(tuple(_column(place, entry) for place, entry in enumerate(document["columns"], start=1)))


def _column(place: int, entry: object) -> Column:
    known = {"name", "kind", "levels", "lower", "upper"}
    if not isinstance(entry, Mapping) or not {"name", "kind"} <= set(entry) <= known:
        raise SchemaError(
            f"column {place} of the schema must have name and kind, and may have {', '.join(sorted(known))}"
        )
    levels, bounds = entry.get("levels", []), [entry[key] for key in ("lower", "upper") if key in entry]
    texts = [entry["name"], entry["kind"]]
    if not isinstance(levels, list) or not all(isinstance(text, str) for text in [*texts, *levels]):
        raise SchemaError(f"column {place} of the schema: name, kind and levels are text")
    if not all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in bounds):
        raise SchemaError(f"column {place} of the schema: bounds are numbers")
    numbers: dict[str, Any] = {key: float(entry[key]) for key in ("lower", "upper") if key in entry}
    return Column(name=entry["name"], kind=entry["kind"], levels=tuple(levels), **numbers)


def _plain(field: Column) -> dict[str, Any]:
    out: dict[str, Any] = {"name": field.name, "kind": field.kind}
    if field.levels:
        out["levels"] = list(field.levels)
    out.update({key: bound for key, bound in (("lower", field.lower), ("upper", field.upper)) if bound is not None})
    return out


def _toml(value: Any) -> str:  # noqa: ANN401 - text, a number, or a list of text
    # TOML's basic strings are JSON's, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _wrong(column: str, what: str, step: str) -> SchemaError:
    return SchemaError(f"column {column!r} {what}", hint=step)
