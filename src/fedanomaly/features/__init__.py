"""Feature schema: what columns mean, and how rows become numbers."""

from fedanomaly.features.column import Column
from fedanomaly.features.encoding import Encoder, encode
from fedanomaly.features.history import Order
from fedanomaly.features.inference import Inference, infer_schema
from fedanomaly.features.reading import arrow_table, read
from fedanomaly.features.schema import Schema
from fedanomaly.features.violations import Checker, Violation
from fedanomaly.features.window import Window

__all__ = [
    "Checker",
    "Column",
    "Encoder",
    "Inference",
    "Order",
    "Schema",
    "Violation",
    "Window",
    "arrow_table",
    "encode",
    "infer_schema",
    "read",
]
