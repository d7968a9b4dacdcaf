"""What holds for every test."""

import pytest
import structlog
from threadpoolctl import threadpool_limits

# One worker a core already: more threads of the linear algebra library would wait for each other.
threadpool_limits(1)


def _log_nowhere() -> None:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), cache_logger_on_first_use=False)


# From the start and after every test: a service that answers a last request in another thread would
# otherwise print into whatever runs next, and a doctest in `src`, which no fixture here reaches, reads that.
_log_nowhere()


@pytest.fixture(autouse=True)
def quiet():
    """Forget what a test configured to look at lines of the log."""
    yield
    structlog.reset_defaults()
    _log_nowhere()
