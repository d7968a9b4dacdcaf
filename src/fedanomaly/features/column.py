"""One column of a schema: what it means, and which features it gives."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

from fedanomaly.errors import SchemaError

Kind = Literal["numeric", "boolean", "categorical", "time", "text", "events"]
Transform = Literal["none", "log"]
Encoding = Literal["onehot", "hash", "frequency"]
Part = Literal["hour", "weekday"]

MOST_BUCKETS = 65_536
DEFAULT_BUCKETS = {"hash": 32, "frequency": 4096}
DEFAULT_LENGTH = 256

_FOR: dict[str, tuple[Kind, ...]] = {
    "lower": ("numeric",),
    "upper": ("numeric",),
    "transform": ("numeric",),
    "clip": ("numeric",),
    "levels": ("categorical",),
    "encode": ("categorical",),
    "buckets": ("categorical",),
    "parts": ("time",),
    "length": ("text", "events"),
    "separator": ("events",),
}
"""The kinds that each option is for."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the data.

    Parameters
    ----------
    name : str
        Its name in the data.
    kind : {"numeric", "boolean", "categorical", "time", "text", "events"}
        A number; true or false; one of several levels; a point in time; a text,
        byte by byte; a sequence of events, as one text or as a list.
    levels : tuple of str
        Of a categorical column with ``encode="onehot"``: one feature each. What
        is not among them counts as none of them.
    lower, upper : float, optional
        Bounds of a numeric column; a reading outside is an error of the data.
    clip : (float, float), optional
        Of a numeric column: a reading outside is taken for the nearer end.
    transform : {"none", "log"}
        Of a numeric column, after clipping: nothing, or sign(x) log(1 + |x|).
    encode : {"onehot", "hash", "frequency"}
        Of a categorical column: one feature a level; one feature a bucket that
        levels are hashed into; the surprise at a level, given the rows so far.
    buckets : int, optional
        Of a hashed or frequency column; 32 or 4,096 if not said.
    parts : tuple of {"hour", "weekday"}
        Of a time: what is used of it, as sine and cosine. The hour if not said.
    length : int, optional
        Of text, in bytes, and of events: what comes after is cut off. 256 if not
        said.
    separator : str, optional
        Of events in one text: what stands between two of them. White space if
        not said.

    Raises
    ------
    SchemaError
        If a value is impossible, or an option is not for that kind.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    lower: float | None = None
    upper: float | None = None
    clip: tuple[float, float] | None = None
    transform: Transform = "none"
    encode: Encoding = "onehot"
    buckets: int | None = None
    parts: tuple[Part, ...] = ()
    length: int | None = None
    separator: str | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise SchemaError("a column has no name")
        if self.kind not in get_args(Kind):
            raise wrong(self.name, "has an unknown kind", f"use one of {', '.join(get_args(Kind))}")
        if not all(is_text(text) for text in (self.name, *self.levels)):
            raise wrong(ascii(self.name), "has a name or level that is no text", "remove unpaired surrogates")
        self._check_levels()
        self._check_bounds()
        self._check_options()
        # What is left out is written out, so that equal columns compare and digest the same.
        for bound in ("lower", "upper"):
            if getattr(self, bound) is not None:
                object.__setattr__(self, bound, float(getattr(self, bound)))
        if self.clip is not None:
            object.__setattr__(self, "clip", (float(self.clip[0]), float(self.clip[1])))
        if self.kind == "categorical" and self.encode != "onehot" and self.buckets is None:
            object.__setattr__(self, "buckets", DEFAULT_BUCKETS[self.encode])
        if self.kind == "time" and not self.parts:
            object.__setattr__(self, "parts", ("hour",))
        if self.kind in _FOR["length"] and self.length is None:
            object.__setattr__(self, "length", DEFAULT_LENGTH)

    def _check_levels(self) -> None:
        onehot = self.kind == "categorical" and self.encode == "onehot"
        if onehot != bool(self.levels):
            raise wrong(self.name, "must have levels if, and only if, it is categorical and one-hot", "list its levels")
        if len(set(self.levels)) != len(self.levels):
            raise wrong(self.name, "names a level twice", "list every level once")

    def _check_bounds(self) -> None:
        pair = (self.lower, self.upper)
        bounds = [bound for bound in (*pair, *(self.clip or ())) if bound is not None]
        if bounds and (self.kind != "numeric" or not all(math.isfinite(bound) for bound in bounds)):
            raise wrong(self.name, "has bounds that are not finite, or is not numeric", "correct or drop them")
        for low, high in (pair, self.clip or (None, None)):
            if low is not None and high is not None and low >= high:
                raise wrong(self.name, "has bounds that do not rise", "correct them")

    def _check_options(self) -> None:
        for option, kinds in _FOR.items():
            if self.kind not in kinds and getattr(self, option) != _DEFAULTS[option]:
                raise wrong(self.name, f"is {self.kind} and has {option}", f"that is for {' and '.join(kinds)}")
        for option, known in (("transform", get_args(Transform)), ("encode", get_args(Encoding))):
            if getattr(self, option) not in known:
                raise wrong(self.name, f"has an unknown {option}", f"use one of {', '.join(known)}")
        if len(set(self.parts)) != len(self.parts) or not set(self.parts) <= set(get_args(Part)):
            raise wrong(self.name, "has parts that are not known, or one twice", f"use {', '.join(get_args(Part))}")
        if self.buckets is not None and (self.encode == "onehot" or not 2 <= self.buckets <= MOST_BUCKETS):
            raise wrong(
                self.name, "has buckets that it cannot use", f"hash and frequency take 2 to {MOST_BUCKETS} of them"
            )
        if self.length is not None and self.length < 1:
            raise wrong(self.name, "has no length", "give it at least 1")
        if self.separator is not None and (not self.separator or not is_text(self.separator)):
            raise wrong(self.name, "has an empty separator", "leave it out for white space")

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that the column gives."""
        if self.kind == "categorical" and self.encode == "onehot":
            return tuple(f"{self.name}={level}" for level in self.levels)
        if self.kind == "categorical" and self.encode == "hash":
            return tuple(f"{self.name}#{bucket}" for bucket in range(self.buckets or 0))
        if self.kind == "categorical":
            return (f"{self.name}:surprise",)
        if self.kind == "time":
            return tuple(f"{self.name}:{part}_{wave}" for part in self.parts for wave in ("sin", "cos"))
        if self.length is not None:
            return tuple(f"{self.name}[{at}]" for at in range(self.length))
        return (self.name,)

    @property
    def version(self) -> int:
        """The oldest version of the schema's form that can say this."""
        later = ("clip", "transform", "encode", "buckets", "length", "separator")
        plain = all(getattr(self, option) == _DEFAULTS[option] for option in later)
        return 1 if plain and self.parts in {(), ("hour",)} else 2

    def plain(self) -> dict[str, Any]:
        """Return what JSON and TOML hold: name, kind, and the options that are not their defaults."""
        out: dict[str, Any] = {"name": self.name, "kind": self.kind}
        for option, default in _DEFAULTS.items():
            value = getattr(self, option)
            if value != default and (option, value) != ("parts", ("hour",)):
                out[option] = list(value) if isinstance(value, tuple) else value
        return out


_DEFAULTS = {entry.name: entry.default for entry in fields(Column) if entry.default is not MISSING}


def is_text(text: str) -> bool:
    """Whether a text can be written as UTF-8; half of a surrogate pair, which JSON can spell, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def wrong(column: str, what: str, step: str) -> SchemaError:
    """Return the error of a column's description."""
    return SchemaError(f"column {column!r} {what}", hint=step)
