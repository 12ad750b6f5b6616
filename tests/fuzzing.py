"""How many examples a property is tried on: few in the test run, as many as asked for by `make fuzz N=...`."""

import os


def examples(number: int) -> int:
    """Give the number for the test run, or what the environment asks for."""
    return int(os.environ.get("PODMIRROR_FUZZ_EXAMPLES", number))
