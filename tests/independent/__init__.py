"""A second implementation of the protocol, in plain Python integers: slow, small, from the specification alone.

It follows docs/explanation/protocol.md and imports nothing of the package, nor
NumPy: what both implementations agree on is then in the specification.
"""
