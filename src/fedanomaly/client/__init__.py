"""`fa.Client`: the organisation's own node, from Python."""

from fedanomaly.client.client import Client
from fedanomaly.client.jobs import Job

__all__ = ["Client", "Job"]
