import json

import pytest

from podmirror.compare.asjson import to_json
from podmirror.compare.figures import Mode
from podmirror.compare.spread import Unknown
from tests.layer.compare.samples import TARGET, both, comparison, run


def test_everything_is_there():
    content = json.loads(to_json(both()))

    assert content["target"] == "deployment/web"
    assert [column["mode"] for column in content["columns"]] == ["ephemeral", "job"]
    first = content["columns"][0]["runs"][0]
    assert first["start"] == 0.5
    assert first["fidelity"]["ledger"]["delivered_bytes"] == 1_000_000
    assert content["columns"][1]["medians"]["start"]["count"] == 3
    assert content["columns"][1]["medians"]["start"]["minimum"] == pytest.approx(0.9)
    assert content["target_namespaces"] == TARGET
    assert content["verdict"]


def test_what_is_unknown_says_why():
    content = json.loads(
        to_json(comparison([run(Mode.EPHEMERAL, cpu=Unknown("it was away"))], refusals=["no"]))
    )

    assert content["columns"][0]["runs"][0]["cost"]["cpu"] == {"unknown": "it was away"}
    assert content["columns"][1]["refusals"] == ["no"]
    assert content["columns"][1]["medians"]["start"] == {"unknown": "nothing was measured"}
