"""What a user can run into, each with the exit code that it leads to.

PodmirrorError
├── UsageError      2  the command line asks for something that cannot be
├── TooMuchLoss     3  more was lost than --max-loss allows
├── AgentLost       4  the agent or the tunnel was lost in mid-session
└── NotStarted      5  refused, or something that is needed is missing

Every message is one sentence or two that name the object, the server's own words where there are any, and the next step.
"""


class PodmirrorError(Exception):
    """A failure that is explained to the user in its message."""

    exit_code = 1


class UsageError(PodmirrorError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class TooMuchLoss(PodmirrorError):
    """More was lost than --max-loss allows."""

    exit_code = 3


class AgentLost(PodmirrorError):
    """The agent or the tunnel to it was lost in mid-session."""

    exit_code = 4


class NotStarted(PodmirrorError):
    """The session was refused, or something that it needs is missing."""

    exit_code = 5
