"""Whole federations in one process, with the protocol and cryptography of the services."""

from fedanomaly.simulation.compare import compare
from fedanomaly.simulation.comparison import Compared, Comparison
from fedanomaly.simulation.evaluate import Evaluated, evaluate
from fedanomaly.simulation.federation import Federation, MemoryBlobs, MemoryVault, Party
from fedanomaly.simulation.simulate import ArrayLearner, Run, matrix_schema, request_for, simulate

__all__ = [
    "ArrayLearner",
    "Compared",
    "Comparison",
    "Evaluated",
    "Federation",
    "MemoryBlobs",
    "MemoryVault",
    "Party",
    "Run",
    "compare",
    "evaluate",
    "matrix_schema",
    "request_for",
    "simulate",
]
