"""What was seen and what was lost, in words, from the agents' ledgers."""

from collections import Counter
from collections.abc import Iterable, Mapping

from podmirror.stats import amount
from podmirror.verdict import counted

_LOSSES = {
    "kernel_drops": "{} packets were dropped by the kernel, because the agent did not keep up",
    "gap_bytes": "{} bytes were missed by the capture",
    "cut_bytes": "{} bytes were given up by the agent, because its buffers were full",
    "shed_connections": "{} connections were shed, because the agent's CPU budget was used up",
    "untracked": "{} segments belonged to connections beyond those that an agent can follow",
    "malformed": "{} packets were malformed",
    "fragments_lost": "{} IP fragments found no packet",
}
"""Each count of the ledger that tells of a loss (docs/protocol.md, Ledger)."""

_CHOICES = {
    "filtered_exchanges": "{} exchanges were not selected",
    "redacted_out_bytes": "{} bytes could not be redacted safely",
    "sampled_out_connections": "{} connections are not in the sample",
}
"""And those that tell of what was left out on purpose."""


def sentences(ledgers: Iterable[Mapping[str, int]], *, connections: int, cut_short: bool) -> list[str]:
    """Say how much was seen, and what of it is not here.

    Args:
        ledgers: Of each agent, as last heard.
        connections: That were told of.
        cut_short: Whether an agent was lost, so that there may be more that nobody knows of.
    """
    total: Counter[str] = Counter()
    for ledger in ledgers:
        total.update(ledger)
    said = [f"{counted(connections, 'connection')} seen"]
    losses = [words.format(f"{total[name]:,}") for name, words in _LOSSES.items() if total[name]]
    said += [
        f"left out: {words.format(f'{total[name]:,}')}" for name, words in _CHOICES.items() if total[name]
    ]
    if losses:
        said += [f"lost: {loss}" for loss in losses]
    elif not cut_short:
        said.append("nothing was lost")
    if cut_short:
        said.append("an agent was lost, so there may be more that nobody knows of")
    return [f"{sentence}." for sentence in said]


def figures(ledgers: Iterable[Mapping[str, int]]) -> list[tuple[str, str]]:
    """Give the ledger as lines below a live view: pairs of a name and a text."""
    total: Counter[str] = Counter()
    for ledger in ledgers:
        total.update(ledger)
    losses = [words.format(f"{total[name]:,}") for name, words in _LOSSES.items() if total[name]]
    left_out = [words.format(f"{total[name]:,}") for name, words in _CHOICES.items() if total[name]]
    said = [
        ("seen", f"{counted(total['connections'], 'connection')}, {amount(total['bytes_seen'])}"),
        ("lost", "; ".join(losses) or "nothing"),
    ]
    return said + ([("left out", "; ".join(left_out))] if left_out else [])
