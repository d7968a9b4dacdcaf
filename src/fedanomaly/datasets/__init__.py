"""Data that the project generates itself."""

from fedanomaly.datasets.flows import make_flows
from fedanomaly.datasets.log_sessions import make_log_sessions
from fedanomaly.datasets.logins import make_logins
from fedanomaly.datasets.payments import Payments, make_payments
from fedanomaly.datasets.sensors import make_sensors
from fedanomaly.datasets.simulated import Simulated

__all__ = ["Payments", "Simulated", "make_flows", "make_log_sessions", "make_logins", "make_payments", "make_sensors"]
