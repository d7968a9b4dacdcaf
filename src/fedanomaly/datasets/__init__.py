"""Data that the project generates itself."""

from fedanomaly.datasets.payments import Payments, make_payments

__all__ = ["Payments", "make_payments"]
