"""Feature schema: what columns mean, and how rows become numbers."""

from fedanomaly.features.encoding import arrow_table, check, encode
from fedanomaly.features.inference import Inference, infer_schema
from fedanomaly.features.schema import Column, Schema

__all__ = ["Column", "Inference", "Schema", "arrow_table", "check", "encode", "infer_schema"]
