from benchmarks.rows import Row
from benchmarks.scale import notes


def row(subject: str, **values: float) -> Row:
    whole = {
        "sent": 40.0,
        "delivered": 40.0,
        "twice": 0.0,
        "exit_code": 0.0,
        "lost_connections": 0.0,
        "lost_bytes": 0.0,
    }
    return Row("scale", "a load", subject, 0, {**whole, **values})


def test_what_each_further_pod_takes_is_told() -> None:
    rows = [row("1 pod", start_cpu=1.0), row("50 pods", start_cpu=1.98)]
    assert notes(rows) == ["start: each pod behind the first takes 20 ms of the layer's CPU"]


def test_what_was_not_delivered_is_told_with_what_the_ledger_says() -> None:
    rows = [
        row("1 pod"),
        row("10 pods", delivered=38.0, lost_connections=1.0, lost_bytes=2000.0, exit_code=4.0),
    ]
    assert notes(rows) == [
        "10 pods: 2 requests were not delivered and 0 twice; the ledger has 1 connections with loss, 2000 bytes; exit code 4"
    ]
