"""How many files may be open: a session of many pods has a tunnel to each, and a connection for each that it delivers."""

import resource

ENOUGH = 65_536
"""More than a layer has use for; the hard limit may be a billion, and some programs close as many files when they start."""


def admit_more() -> None:
    """Raise the soft limit, which a command of `exec` then has as well, as far as the hard one goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(ENOUGH, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
