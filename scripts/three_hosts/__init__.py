"""Runs docs/how-to/run-across-three-machines.md in network namespaces, as it is written."""
