from tests.unit.node.federation import federation, trained

__all__ = ["federation", "trained"]
