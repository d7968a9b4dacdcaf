"""Names that only users of the package call; vulture would take them for dead code.

One line each, under the room that offers it. What is listed here is used by no
other room, so a test of its own must use it.
"""
