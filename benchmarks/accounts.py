"""Where the bytes went, as the agent names it. Nothing here measures."""

NAMED = {
    "gaps": "ledger_gap_bytes",
    "cut": "ledger_cut_bytes",
    "shed": "ledger_shed_bytes",
    "waiting": "ledger_waiting_bytes",
    "omitted": "omitted",
}
"""What is not delivered, by the count that says so; those of the ledger are explained in docs/protocol.md."""


def named_bytes(counts: dict[str, float]) -> dict[str, float]:
    """Give the payload bytes towards the port that were not delivered, by reason; reasons without any are left out."""
    return {reason: counts[key] for reason, key in NAMED.items() if counts.get(key)}


def accounted_bytes(counts: dict[str, float]) -> float:
    """Give the bytes that were delivered or named."""
    return counts["delivered"] + sum(named_bytes(counts).values())
