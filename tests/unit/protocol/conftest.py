from tests.unit.protocol.federations import federation
from tests.unit.protocol.folding import finished

__all__ = ["federation", "finished"]
