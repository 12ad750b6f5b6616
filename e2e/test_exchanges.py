"""`inspect` shows live exchanges, each once and whole, in every format."""

import json

from e2e.bodies import drive, expected
from e2e.cluster import E2ECluster, until
from e2e.sessions import Podmirror
from tests.layer.inspection.schemas import EXCHANGE, HAR

SEED, REQUESTS = 21, 40
MANY = 1000


def inspect(k8s: E2ECluster, *arguments: str) -> Podmirror:
    return Podmirror(k8s, "inspect", *k8s.session_arguments("deployment/app"), "-p", "8080", *arguments)


def test_json_lines_hold_each_exchange_with_its_answer(k8s: E2ECluster) -> None:
    with inspect(k8s, "-o", "jsonl") as podmirror:
        podmirror.until_said("watching port 8080")
        drive(k8s, "client-jsonl", SEED, REQUESTS)
        until(lambda: podmirror.out.count("\n") >= REQUESTS, "every exchange is shown")
        assert podmirror.interrupt() == 0
        shown = [json.loads(line) for line in podmirror.out.splitlines()]

    for each in shown:
        EXCHANGE.validate(each)
        assert (each["method"], each["status"], each["state"]) == ("POST", 200, "complete")
        assert 0 < each["first_byte_ms"] <= each["last_byte_ms"]
    assert {each["path"]: each["response_body"]["text"] for each in shown} == expected(SEED, REQUESTS)


def test_a_har_that_ctrl_c_ended_is_valid(k8s: E2ECluster) -> None:
    with inspect(k8s, "-o", "har") as podmirror:
        podmirror.until_said("watching port 8080")
        drive(k8s, "client-har", SEED + 1, MANY)
        until(
            lambda: podmirror.out.count('"startedDateTime"') >= MANY,
            "every exchange is shown",
            seconds=60,
        )
        assert podmirror.interrupt() == 0
        har = json.loads(podmirror.out)

    HAR.validate(har)
    urls = {entry["request"]["url"].rpartition("/")[2] for entry in har["log"]["entries"]}
    assert urls == {str(number) for number in range(MANY)}


def test_text_holds_headers_and_bodies_and_ends_by_itself(k8s: E2ECluster) -> None:
    with inspect(k8s, "-vv", "--count", "3") as podmirror:
        podmirror.until_said("watching port 8080")
        drive(k8s, "client-text", SEED + 2, REQUESTS)
        assert podmirror.wait() == 0
        lines = podmirror.out.splitlines()

    digests = expected(SEED + 2, REQUESTS)
    assert [line for line in lines if " POST " in line and " 200 " in line] == [
        line for line in lines if line[:1] == "2"
    ]
    assert sum(line.strip("< ") in digests.values() for line in lines) == 3


def test_a_duration_ends_it(k8s: E2ECluster) -> None:
    with inspect(k8s, "--duration", "3s", "-o", "jsonl") as podmirror:
        assert podmirror.wait(60) == 0
        assert "0 connections seen" in podmirror.err
