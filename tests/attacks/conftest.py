from tests.unit.protocol.federations import federation

__all__ = ["federation"]
