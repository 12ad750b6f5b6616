"""A comparison for machines. No I/O."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from podmirror.compare.figures import Comparison, Run
from podmirror.compare.sections import sections, target_namespaces
from podmirror.compare.spread import Unknown, quantile, spread
from podmirror.compare.verdict import verdict
from podmirror.ledger import LayerLedger


def to_json(comparison: Comparison) -> str:
    """Give everything: times in seconds, sizes in bytes; what is unknown is an object with the reason."""
    content = _plain(comparison)
    for column, plain in zip(comparison.columns, content["columns"], strict=True):
        plain["medians"] = _plain(_medians(column.runs))
    content["target_namespaces"] = dict(target_namespaces(comparison.columns))
    content["verdict"] = verdict(comparison)
    content["tables"] = _plain(sections(comparison))
    return json.dumps(content, indent=2)


def _medians(runs: Sequence[Run]) -> dict[str, object]:
    return {
        "start": spread(run.start for run in runs),
        "phases": {
            name: spread(run.phases[name] for run in runs if name in run.phases)
            for name in dict.fromkeys(name for run in runs for name in run.phases)
        },
        "cpu": spread(run.cost.cpu for run in runs),
        "memory": spread(run.cost.memory for run in runs),
        "latency_p50": spread(quantile(run.fidelity.latencies, 0.5) for run in runs),
        "latency_p99": spread(quantile(run.fidelity.latencies, 0.99) for run in runs),
    }


def _plain(value: Any) -> Any:
    match value:
        case Unknown():
            return {"unknown": value.reason}
        case LayerLedger():
            return value.as_dict()
        case Enum():
            return value.value
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case str() | int() | float() | bool() | None:
            return value
        case Sequence():
            return [_plain(each) for each in value]
    assert is_dataclass(value), f"{type(value).__name__} has no place in a comparison"
    found = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Run):
        found["start"] = _plain(value.start)
    return found
