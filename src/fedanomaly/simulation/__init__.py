"""Whole federations in one process, with the protocol and cryptography of the services."""

from fedanomaly.simulation.federation import Federation, MemoryBlobs, MemoryVault, Party
from fedanomaly.simulation.simulate import ArrayLearner, Run, matrix_schema, request_for, simulate

__all__ = [
    "ArrayLearner",
    "Federation",
    "MemoryBlobs",
    "MemoryVault",
    "Party",
    "Run",
    "matrix_schema",
    "request_for",
    "simulate",
]
