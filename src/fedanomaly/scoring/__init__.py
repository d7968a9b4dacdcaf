"""Scoring on ciphertexts over HTTP: the service, and what its clients say to it.

The service holds models in the clear and no secret; it never imports what
encrypts or decrypts. The linter keeps it so.
"""
