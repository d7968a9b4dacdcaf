"""What the columns of a federation's data mean: the same file at every member."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from fedanomaly.errors import SchemaError
from fedanomaly.features.column import Column, Kind, wrong
from fedanomaly.features.document import parts_of
from fedanomaly.features.window import Window
from fedanomaly.types import item, item_int
from fedanomaly.types.canonical import begin

MOST_FEATURES = 10_000
Role = Literal["numeric", "boolean", "text", "time", "events"]
"""How a column of the data is read, whatever it is used for."""
_ROLES: dict[Kind, Role] = {
    "numeric": "numeric",
    "boolean": "boolean",
    "categorical": "text",
    "time": "time",
    "text": "text",
    "events": "events",
}


@dataclass(frozen=True)
class Schema:
    """The columns that a detector sees, in order.

    Equal schemas have equal digests; a member refuses a job whose digest is not
    that of its own data.

    Parameters
    ----------
    fields : tuple of Column
        Names differ.
    windows : tuple of Window
        Further features, of what the rows before say about an entity.

    Raises
    ------
    SchemaError
        If there is neither column nor window, two features have one name, or a
        column is used in two ways that do not go together.

    Examples
    --------
    >>> schema = Schema((Column(name="amount", kind="numeric"), Column(name="chip", kind="boolean")))
    >>> schema.feature_names
    ('amount', 'chip')
    >>> Schema.from_toml(schema.to_toml()) == schema
    True
    """

    fields: tuple[Column, ...]
    windows: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(self.fields))
        object.__setattr__(self, "windows", tuple(self.windows))
        if not self.fields and not self.windows:
            raise SchemaError("a schema needs at least one column or window")
        twice = sorted(name for name, times in Counter(field.name for field in self.fields).items() if times > 1)
        if twice:
            raise wrong(twice[0], "is described twice", "keep one description")
        _ = self.roles
        if self.n_features > MOST_FEATURES:
            raise SchemaError(
                f"the schema gives {self.n_features} features, more than {MOST_FEATURES}",
                hint="leave columns out, or keep the frequent levels only",
            )
        twice = sorted(name for name, times in Counter(self.feature_names).items() if times > 1)
        if twice:
            raise SchemaError(
                f"two features are named {twice[0]!r}", hint="rename a column, or give one of the windows a name"
            )

    @cached_property
    def roles(self) -> dict[str, Role]:
        """How every column that is read is read, by name: first the columns, then what only windows read."""
        out: dict[str, Role] = {}
        for name, role in self._uses():
            if out.setdefault(name, role) != role:
                raise wrong(name, f"is used as {out[name]} and as {role}", "give the data two columns")
        return out

    def _uses(self) -> list[tuple[str, Role]]:
        out: list[tuple[str, Role]] = []
        out.extend((field.name, _ROLES[field.kind]) for field in self.fields)
        for window in self.windows:
            out.extend((name, "text") for name in (*window.entity, *window.others))
            out.append((window.time, "time"))
            if window.value is not None:
                out.append((window.value, "numeric"))
        return out

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns of the data that are read."""
        return tuple(self.roles)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the encoded features."""
        return tuple(name for part in (*self.fields, *self.windows) for name in part.feature_names)

    @property
    def logged(self) -> tuple[str, ...]:
        """Names of the features that hold sign(x) log(1 + |x|) of a reading x, as `Detector.reasons` asks for them."""
        return tuple(field.name for field in self.fields if field.transform == "log")

    @cached_property
    def n_features(self) -> int:
        """Number of encoded features: the columns of the matrix."""
        return len(self.feature_names)

    @property
    def looks_back(self) -> bool:
        """Whether features of a row depend on the rows before it, so that their order counts."""
        return bool(self.windows) or any(field.encode == "frequency" for field in self.fields)

    @property
    def version(self) -> int:
        """The oldest version of the form that can say this schema; its text and its digest have that one."""
        return max([2 if self.windows else 1, *(field.version for field in self.fields)])

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        out = begin("schema") + item_int("format", self.version)
        if self.version > 1:
            # Sorted keys and the shortest decimal form of a float: one text for one value.
            for label, parts in (("column", self.fields), ("window", self.windows)):
                texts = (json.dumps(part.plain(), sort_keys=True, separators=(",", ":")) for part in parts)
                out += b"".join(item(label, text.encode()) for text in texts)
            return out
        for field in self.fields:
            out += item("name", field.name.encode()) + item("kind", field.kind.encode())
            out += b"".join(item("level", level.encode()) for level in field.levels)
            for label, bound in (("lower", field.lower), ("upper", field.upper)):
                out += item(label, b"" if bound is None else float(bound).hex().encode())
        return out

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_json(self) -> str:
        """Return the schema as JSON."""
        out: dict[str, Any] = {"version": self.version, "columns": [field.plain() for field in self.fields]}
        return json.dumps(out | ({"windows": [window.plain() for window in self.windows]} if self.windows else {}))

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
        return cls(*parts_of(document))

    def to_toml(self) -> str:
        """Return the schema as TOML, for people to read and edit."""
        lines = [f"version = {self.version}"]
        for title, parts in (("columns", self.fields), ("windows", self.windows)):
            for part in parts:
                lines += ["", f"[[{title}]]"] + [f"{key} = {_toml(value)}" for key, value in part.plain().items()]
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
        return cls(*parts_of(document))


def _toml(value: Any) -> str:  # noqa: ANN401 - text, a number, or a list of them
    # TOML's basic strings are JSON's, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
