"""Plain frozen data that every room speaks: steps, quantisers, statistics, state."""

from fedanomaly.types.arrays import Floats, Integers
from fedanomaly.types.canonical import Reader, item, item_int
from fedanomaly.types.circuit import Circuit, Layer
from fedanomaly.types.quantiser import Quantiser, Total
from fedanomaly.types.state import State
from fedanomaly.types.step import FieldSpec, Statistics, Step

__all__ = [
    "Circuit",
    "FieldSpec",
    "Floats",
    "Integers",
    "Layer",
    "Quantiser",
    "Reader",
    "State",
    "Statistics",
    "Step",
    "Total",
    "item",
    "item_int",
]
