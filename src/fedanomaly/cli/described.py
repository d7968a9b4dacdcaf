"""What a detector says of itself, for people and for the page on detectors: read from its docstring and class."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedanomaly.detectors import Detector

_IDEA, _FAILS, _COST = "The idea: ", "It fails ", "Cost: "


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a detector.

    Parameters
    ----------
    name : str
        As it is passed.
    default : object
        A JSON value.
    allowed : str
        Type and range, as the docstring has them.
    meaning : str
        What it does.
    free : bool
        Whether `Detector.resettled` changes it without new sums.
    """

    name: str
    default: Any
    allowed: str
    meaning: str
    free: bool


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a detector says of itself.

    Parameters
    ----------
    name, title : str
        Registered name, and the first line of the docstring.
    learns_from : str
        What it takes: readings, labelled readings, or codes of events or letters.
    idea, fails, cost : str
        Paragraphs of the docstring, without line breaks; empty where there is none.
    sources : str
        The references.
    why_no_circuit : str
        Why the score is not computed on ciphertexts; empty where it is.
    circuit_with : str
        A setting with which it is, where by default it is not; else empty.
    parameters : tuple of Parameter
        In the order of the docstring.
    """

    name: str
    title: str
    learns_from: str
    idea: str
    fails: str
    cost: str
    sources: str
    why_no_circuit: str
    circuit_with: str
    parameters: tuple[Parameter, ...]

    @property
    def on_ciphertexts(self) -> str:
        """Whether the score is computed on ciphertexts, and with what."""
        if self.circuit_with:
            return f"only with {self.circuit_with}; else {self.why_no_circuit}, which is not computed there"
        return f"no: {self.why_no_circuit}" if self.why_no_circuit else "yes"


def described(kind: type[Detector]) -> Described:
    """Return what a detector says of itself."""
    text = inspect.getdoc(kind) or ""
    head, *_ = re.split(r"^Parameters\n-+\n", text, maxsplit=1, flags=re.MULTILINE)
    title, *paragraphs = [_line(part) for part in head.strip().split("\n\n")]
    return Described(
        name=kind.name,
        title=title,
        learns_from=_learns_from(kind),
        idea=_paragraph(paragraphs, _IDEA),
        fails=_paragraph(paragraphs, _FAILS),
        cost=_paragraph(paragraphs, _COST),
        sources=_line(_section(text, "References")),
        why_no_circuit=kind.why_no_circuit,
        circuit_with=kind.circuit_with,
        parameters=tuple(_parameters(kind, _section(text, "Parameters"))),
    )


def _learns_from(kind: type[Detector]) -> str:
    what = "codes" if kind.reads == "codes" else "readings"
    return f"{what} and labels" if kind.learns_from_labels else what


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _paragraph(paragraphs: list[str], start: str) -> str:
    found = next((part for part in paragraphs if part.startswith(start)), "")
    rest = found if start == _FAILS else found.removeprefix(start)
    return rest[:1].upper() + rest[1:]


def _section(text: str, title: str) -> str:
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return found.group(1).strip("\n") if found else ""


def _parameters(kind: type[Detector], section: str) -> list[Parameter]:
    said: dict[str, tuple[str, str]] = {}
    for names, allowed, meaning in re.findall(
        r"^(\w[\w, ]*) : (.*)\n((?:    .*\n?|\n)*)", section + "\n", re.MULTILINE
    ):
        for name in names.split(", "):
            said[name] = (re.sub(r",? default=.*|, optional$", "", allowed), _line(meaning))
    defaults: Mapping[str, Any] = kind().params()
    order = [*(name for name in said if name in defaults), *(name for name in defaults if name not in said)]
    return [
        Parameter(
            name=name,
            default=defaults[name],
            allowed=said.get(name, ("", ""))[0],
            meaning=said.get(name, ("", ""))[1],
            free=name in kind.free,
        )
        for name in order
    ]
