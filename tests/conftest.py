"""What holds for every test."""

import pytest
import structlog
from threadpoolctl import threadpool_limits

# One worker a core already: more threads of the linear algebra library would wait for each other.
threadpool_limits(1)


@pytest.fixture(autouse=True)
def quiet():
    """Let services that run on in other threads log nowhere; a test that looks at lines configures its own."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), cache_logger_on_first_use=False)
    yield
    structlog.reset_defaults()
