"""What a user can run into, each with the exit code that it leads to.

PodmirrorError
├── UsageError      2  the command line asks for something that cannot be
├── TooMuchLoss     3  more was lost than --max-loss allows
├── AgentLost       4  the agent or the tunnel was lost in mid-session
│   └── TunnelLost     the tunnel alone, as far as is known: it may be opened again
│       └── NobodyListens  there is a way to the agent's port, and it is closed
├── NotStarted      5  refused, or something that is needed is missing
│   └── Unreachable    the API server does not answer, which may pass
└── OutputLost      6  what was seen cannot be written any more

Every message is one sentence or two that name the object, the server's own words where there are any, and the next step. Only
where several ways were tried it is a line for each of them, and one for what to do.
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


class TunnelLost(AgentLost):
    """The tunnel to the agent broke or fell silent; the agent may still be there."""


class NobodyListens(TunnelLost):
    """The agent's port is closed, as the kernel of its node says."""


class NotStarted(PodmirrorError):
    """The session was refused, or something that it needs is missing."""

    exit_code = 5

    def __init__(self, reason: str, step: str = "") -> None:
        super().__init__(f"{reason}; {step}" if step else reason)
        self.reason = reason
        self.step = step
        """What to do about it, if it is not in the reason."""


class Unreachable(NotStarted):
    """The API server does not answer."""


class OutputLost(PodmirrorError):
    """What was seen cannot be written any more: a disk is full, for one."""

    exit_code = 6
