"""Canonical items: u8 length of the label, label, u32le length of the value, value."""

from __future__ import annotations

VERSION = b"fedanomaly/1"
ZEROS = bytes(32)


class Refused(Exception):  # noqa: N818 (one word says it)
    """Something is not what the specification says."""


def need(holds: bool, what: str) -> None:
    if not holds:
        raise Refused(what)


def item(label: str, value: bytes) -> bytes:
    name = label.encode("ascii")
    return len(name).to_bytes(1, "little") + name + len(value).to_bytes(4, "little") + value


def number(label: str, value: int) -> bytes:
    return item(label, value.to_bytes(8, "little"))


def indices(values: tuple[int, ...]) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


def begin(label: str) -> bytes:
    return item("version", VERSION) + item("label", label.encode("ascii"))


def take(data: bytes) -> tuple[str, bytes, bytes]:
    """Return label and value of the first item, and what follows."""
    need(len(data) >= 1, "an item is cut short")
    head = 1 + data[0] + 4
    need(len(data) >= head, "an item is cut short")
    length = int.from_bytes(data[head - 4 : head], "little")
    need(len(data) >= head + length, "an item is cut short")
    return data[1 : head - 4].decode("latin-1"), data[head : head + length], data[head + length :]


def items(data: bytes, labels: list[str]) -> list[bytes]:
    """Return the values of exactly these items, in this order, and nothing after them."""
    values = []
    for label in labels:
        found, value, data = take(data)
        need(found == label, f"expected the item {label}")
        values.append(value)
    need(not data, "bytes follow the last item")
    return values


def begun(data: bytes, label: str, labels: list[str]) -> list[bytes]:
    """Return the items behind version and label."""
    version, name, *rest = items(data, ["version", "label", *labels])
    need(version == VERSION and name == label.encode(), f"not a {label} of this version")
    return rest


def whole(value: bytes) -> int:
    need(len(value) == 8, "an integer has eight bytes")
    return int.from_bytes(value, "little")


def exactly(value: bytes, length: int) -> bytes:
    need(len(value) == length, "a value has the wrong length")
    return value


def index_set(value: bytes, members: int | None = None) -> tuple[int, ...]:
    """Return two-byte indices; strictly increasing within 1 .. members, if that is given."""
    need(len(value) % 2 == 0, "a set is cut short")
    found = tuple(int.from_bytes(value[at : at + 2], "little") for at in range(0, len(value), 2))
    if members is not None:
        need(found == tuple(sorted(set(found))) and all(1 <= one <= members for one in found), "no set of the roster")
    return found


def hashes(value: bytes) -> tuple[bytes, ...]:
    need(len(value) % 32 == 0, "a list of hashes is cut short")
    return tuple(value[at : at + 32] for at in range(0, len(value), 32))
