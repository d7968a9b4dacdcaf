"""Anomaly detection that competing organisations learn together, under encryption."""
