"""Whole federations under faults that a seed draws; what must hold is watched from outside.

The protocol's own state machines run; machines, network and clock are made up
and fail as the seed says. `world.World(seed)` does the same again for the same
seed; `make faults` runs thousands.
"""
