"""The programs `podmirror` and `kubectl-podmirror`, and `python -m podmirror`."""

import signal
import sys


def main() -> int:
    """Run the command line and give its exit code."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        # It would tell of Ctrl-C with a traceback of what is just being imported.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from podmirror.cli import main as run

    signal.signal(signal.SIGINT, handler)
    return run()


if __name__ == "__main__":
    sys.exit(main())
