"""A schema from the file that holds it."""

from __future__ import annotations

import os
from pathlib import Path

from fedanomaly.errors import SchemaError
from fedanomaly.features.schema import Schema


def read_schema(file: str | os.PathLike[str]) -> Schema:
    """Read a schema file: JSON if it is named so, else TOML.

    Raises
    ------
    SchemaError
        If it is missing, or no schema.
    """
    path = Path(file)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SchemaError(
            f"no schema can be read from {path}: {reason}", hint="write one with: fedanomaly schema infer FILE"
        ) from None
    return Schema.from_json(text) if path.suffix.lower() == ".json" else Schema.from_toml(text)
