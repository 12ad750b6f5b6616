"""What must not depend on how fast the machine is: how properties are tried, and an event loop's clock.

A property's examples are the same in each run, so that a run says something of the change that it is about; `make fuzz` tries
others.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.clock import Clock

settings.register_profile(
    "tests",
    deadline=None,
    derandomize="PODMIRROR_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")


@pytest.fixture
async def clock() -> Clock:
    """Time passes only as the test says."""
    return Clock()
