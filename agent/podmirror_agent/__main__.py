"""Start the agent: `python -m podmirror_agent`.

The signal handler stands before the other imports on purpose: the agent is often PID 1, for which the kernel ignores every
signal that has no handler, and an agent that ignores SIGTERM delays each rollout of its target by the grace period.
"""

import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

from podmirror_agent.program import main

if __name__ == "__main__":
    sys.exit(main())
