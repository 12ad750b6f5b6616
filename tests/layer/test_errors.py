"""Each error leads to the exit code that the documentation promises."""

import pytest

from podmirror.errors import AgentLost, NotStarted, PodmirrorError, TooMuchLoss, UsageError


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(PodmirrorError, 1), (UsageError, 2), (TooMuchLoss, 3), (AgentLost, 4), (NotStarted, 5)],
)
def test_exit_codes(error, exit_code):
    assert error("why").exit_code == exit_code
    assert str(error("why")) == "why"
    assert issubclass(error, PodmirrorError)
