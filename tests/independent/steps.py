"""What a step describes, how its entries are counted, and what a state holds."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tests.independent.encoding import Refused, begin, item, need, take, whole
from tests.independent.epoch import Items
from tests.independent.manifests import Manifest
from tests.independent.packing import Layout
from tests.independent.streams import sha256


@dataclass(frozen=True)
class Field:
    """One array of a statistic, in units of its resolution."""

    name: str
    shape: tuple[int, ...]
    lower: int
    upper: int


def _lengths(data: bytes) -> tuple[int, ...]:
    found = []
    while data:
        label, value, data = take(data)
        need(label == "length", "not a shape")
        found.append(whole(value))
    return tuple(found)


def read_step(data: bytes) -> list[Field]:
    fields, head = [], begin("step")
    need(data.startswith(head), "not a step")
    label, _, rest = take(data[len(head) :])
    need(label == "name", "a step has a name")
    while rest:
        values = []
        for name in ("field", "shape", "lower", "upper", "resolution"):
            label, value, rest = take(rest)
            need(label == name, f"expected the item {name}")
            values.append(value)
        fields.append(Field(values[0].decode(), _lengths(values[1]), int(values[2]), int(values[3])))
    return fields


def sizes(fields: list[Field], members: int) -> tuple[int, int]:
    """Return bits and number of the entries of a step: all have one width, the clip count follows as digits."""
    value_bits = max((field.upper - field.lower).bit_length() for field in fields)
    entries = sum(prod(field.shape) for field in fields)
    digits = -(-entries.bit_length() // value_bits)
    return value_bits + (members - 1).bit_length(), entries + digits


def best_degree(members: int, threshold: int, bits: int, entries: int) -> int:
    """Return the preset with the smallest message; the smaller ring if both are equal."""
    found = []
    for degree in (4096, 8192):
        layout = Layout(degree, members, threshold, bits, entries)
        try:
            layout.check()
        except Refused:
            continue
        found.append((layout.message_bytes, degree))
    return min(found)[1]


def totals(fields: list[Field], sums: list[int], contributors: int) -> dict[str, list[int]]:
    """Return the opened sum of each field, offsets removed."""
    out, at = {}, 0
    for field in fields:
        size = prod(field.shape)
        out[field.name] = [value + contributors * field.lower for value in sums[at : at + size]]
        at += size
    return out


def read_state(data: bytes) -> dict[str, list[int]]:
    """Return the named arrays of a state."""
    reader = Items(data)
    need(reader.value("version") == b"fedanomaly/1" and reader.value("label") == b"state", "not a state")
    need(reader.whole("format") == 1, "an unknown format")
    for label in ("detector", "version", "params"):
        reader.value(label)
    arrays = {}
    for _ in range(reader.whole("arrays")):
        name = reader.value("name").decode()
        shape = _lengths(reader.value("shape"))
        values = reader.value("values")
        need(len(values) == 8 * prod(shape), "an array has the wrong size")
        arrays[name] = [int.from_bytes(values[i : i + 8], "little", signed=True) for i in range(0, len(values), 8)]
    reader.end()
    need(list(arrays) == sorted(arrays), "the arrays are not in order")
    return arrays


def frozen_hash(values: list[int]) -> bytes:
    return sha256(b"".join(value.to_bytes(8, "little") for value in values))


MESSAGES = {"contribution": "contribution", "statement": "decryption share", "opened": "masked sum"}


def residues(data: bytes, label: str, manifest: Manifest) -> bytes:
    """Return the residues of an attachment, which must belong to this manifest."""
    reader = Items(data)
    need(reader.value("version") == b"fedanomaly/1" and reader.value("label") == label.encode(), f"not a {label}")
    need(reader.key("manifest") == manifest.hash, "it belongs to another round")
    body = reader.value("residues")
    reader.end()
    manifest.ask.layout.from_bytes(body)
    return body


def attachment(manifest: Manifest, label: str, body: bytes) -> bytes:
    return begin(label) + item("manifest", manifest.hash) + item("residues", body)
