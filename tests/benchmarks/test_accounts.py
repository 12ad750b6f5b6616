from benchmarks.accounts import accounted_bytes, named_bytes


def test_bytes_are_named_by_the_counts_that_are_there() -> None:
    counts = {"delivered": 100.0, "omitted": 5.0, "ledger_gap_bytes": 7.0, "ledger_cut_bytes": 0.0}

    assert named_bytes(counts) == {"omitted": 5.0, "gaps": 7.0}


def test_all_that_is_delivered_or_named_is_accounted_for() -> None:
    counts = {
        "delivered": 100.0,
        "omitted": 1.0,
        "ledger_gap_bytes": 2.0,
        "ledger_cut_bytes": 4.0,
        "ledger_shed_bytes": 8.0,
        "ledger_waiting_bytes": 16.0,
        "ledger_connections": 1000.0,
    }

    assert accounted_bytes(counts) == 131
