"""What an agent costs the app beside which it runs, on a core that the app has used up already.

App and agent are in two control groups, with the weights that a kubelet gives to their containers, on one core; the client and
the drain have another. The client keeps the app busy without a pause. Each pair is the app alone and the app with an agent,
right after one another, in an order that alternates; the ratio is within a pair. How the weights come about: `cgroups`.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks import agents, cgroups
from benchmarks.accounts import NAMED, accounted_bytes, named_bytes
from benchmarks.captures import AGENT, COMPILED
from benchmarks.children import CAPTURE_CORE, cpu_seconds, result_of
from benchmarks.comparison import usable_captures
from benchmarks.loads import quiet_namespaces
from benchmarks.rows import Row, mean_with_interval, short, spread
from benchmarks.sections import Asked, Column, Section
from benchmarks.transfers import app, run_client
from tests.namespaces import Namespaces

MESSAGE_BYTES = 256
CONNECTIONS = 32
WORK_MICROSECONDS = 20
"""CPU that the app burns for a request, besides what its sockets cost: as a small handler in a compiled language."""

BUDGET = "0.05"
"""Cores, for the agent's --cpu."""

SETTLE_SECONDS = 0.05
"""At least, for an agent to be done with what the load left it."""

PAIR = "with / alone"
"""The subject of a row that compares; it is in the notes, not in the table."""

REQUEST_SHARES = 102
"""cpu.shares of an app with a CPU request of 100m."""

DISTURBED_SHARE = 0.9
"""Of the core: an app alone that got less shared it with something that is not of the benchmark."""

APP_WEIGHTS = {
    1: "neither has a CPU request (cpu.shares 2 : 2)",
    cgroups.linear_weight(
        REQUEST_SHARES
    ): "the app requests 100m, cgroup v2, runc up to 1.3.1 (cpu.weight 4 : 1)",
    REQUEST_SHARES // cgroups.LEAST_SHARES: "the app requests 100m, cgroup v1 (cpu.shares 102 : 2)",
}
"""How much more the app's group weighs than the agent's, which has no request. For the last two, a newer runc makes it 17."""


@dataclass(frozen=True)
class Setting:
    """What is compared with the app alone."""

    capture: str
    weight: int
    """Of the app, over the agent's."""
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """What a table calls it."""
        return f"{' '.join((self.capture, *self.options))}; {APP_WEIGHTS[self.weight]}"


def measure(asked: Asked) -> Iterator[Row]:
    """Measure pairs under each setting."""
    reason = cgroups.why_not()
    if reason:
        asked.tell(f"sharing: left out, {reason}")
        return
    settings = _settings(asked)
    with quiet_namespaces() as made:
        for pair in range(asked.pairs):
            for setting in settings:
                asked.tell(f"sharing, pair {pair + 1} of {asked.pairs}: {setting.name}")
                found = {}
                for with_agent in (False, True) if pair % 2 else (True, False):
                    found[with_agent] = _measure_once(made, setting, asked.seconds, with_agent=with_agent)
                    subject = "with the agent" if with_agent else "alone"
                    yield Row("sharing", setting.name, subject, pair, found[with_agent])
                values = _compare(found[False], found[True])
                yield Row("sharing", setting.name, PAIR, pair, values)


def _settings(asked: Asked) -> list[Setting]:
    name = usable_captures(asked, (AGENT, COMPILED))[
        -1
    ]  # compiled if there is such: that is what the image carries
    budgets: list[tuple[str, ...]] = [()]
    if agents.understands("--cpu", compiled=name == COMPILED):
        budgets.append(("--cpu", BUDGET))
    else:
        asked.tell(f"sharing with a CPU budget: left out, {name} has no --cpu")
    return [Setting(name, weight, budget) for weight in APP_WEIGHTS for budget in budgets]


def _measure_once(
    made: Namespaces, setting: Setting, seconds: float, *, with_agent: bool
) -> dict[str, float]:
    """Keep the app busy for a while, with or without an agent in the other group."""
    with (
        cgroups.weighted(setting.weight, 1) as (for_app, for_agent),
        contextlib.ExitStack() as stack,
    ):
        agent = None
        if with_agent:
            compiled = setting.capture == COMPILED
            agent = stack.enter_context(agents.drained(made, *setting.options, compiled=compiled))
            for_agent.add(agent.process.pid)
        options = {"message": MESSAGE_BYTES, "work": WORK_MICROSECONDS}
        serving = stack.enter_context(app(made, CAPTURE_CORE, **options))
        for_app.add(serving.pid)
        before = _cpu(serving.pid, agent)
        after = before

        def over() -> None:
            nonlocal after
            after = _cpu(serving.pid, agent)
            if agent is not None:  # or it would miss the ends of the connections, and its last gaps with them
                agent.settle(SETTLE_SECONDS)

        shape = {"message": MESSAGE_BYTES, "connections": CONNECTIONS}
        told = run_client(made, "client", seconds, shape, over)
        values = {
            "throughput": told["answered"] / told["seconds"],
            "p50_us": told["latency_p50_us"],
            "p99_us": told["latency_p99_us"],
            "failures": told["failures"],
            "app_core_share": (after[0] - before[0]) / told["seconds"],
            "agent_core_share": (after[1] - before[1]) / told["seconds"],
        }
        if agent is not None:
            agent.settle(SETTLE_SECONDS)
            received = result_of(serving)["bytes"]
            values |= _accounts(agent.finish(), received)
    return values


def _cpu(app_pid: int, agent: agents.Agent | None) -> tuple[float, float]:
    return cpu_seconds(app_pid), 0.0 if agent is None else cpu_seconds(agent.process.pid)


def _accounts(counts: dict[str, float], received: float) -> dict[str, float]:
    """Say where the bytes are that the app received."""
    named = {f"share_{reason}": amount / received for reason, amount in named_bytes(counts).items()}
    return (
        counts
        | named
        | {
            "received_bytes": received,
            "share_delivered": counts["delivered"] / received,
            "share_accounted": accounted_bytes(counts) / received,
        }
    )


def _compare(alone: dict[str, float], beside: dict[str, float]) -> dict[str, float]:
    return {
        "throughput_ratio": beside["throughput"] / alone["throughput"],
        "p99_ratio": beside["p99_us"] / alone["p99_us"],
    }


def notes(rows: list[Row]) -> list[str]:
    """Give the mean ratios with their intervals, and where the bytes went."""
    lines = []
    for load in dict.fromkeys(row.load for row in rows):
        compared = [row.values for row in rows if row.load == load and row.subject == PAIR]
        beside = [row.values for row in rows if row.load == load and row.subject == "with the agent"]
        alone = [row.values["app_core_share"] for row in rows if row.load == load and row.subject == "alone"]
        disturbed = sum(share < DISTURBED_SHARE for share in alone)
        lines.append(
            f"{load}: mean of {len(compared)} pairs, and its 95 % bootstrap interval; in {disturbed} of them the app alone "
            f"got less than {DISTURBED_SHARE:.0%} of its core, so something else disturbed them"
        )
        for what, key in (("throughput", "throughput_ratio"), ("p99", "p99_ratio")):
            ratios = [each[key] for each in compared]
            mean, low, high = mean_with_interval(ratios)
            lines.append(
                f"  {what}, with / alone: {mean:.3f} ({low:.3f} to {high:.3f}), single pairs {spread(ratios)}"
            )
        received = sum(each["received_bytes"] for each in beside)
        delivered = sum(each["delivered"] for each in beside)
        named = {reason: sum(each.get(key, 0) for each in beside) for reason, key in NAMED.items()}
        parts = [f"{short(amount / received * 100)} % {reason}" for reason, amount in named.items() if amount]
        rest = received - delivered - sum(named.values())
        lines.append(
            f"  of {received:,.0f} bytes: {short(delivered / received * 100)} % delivered, "
            f"{', '.join(parts) or 'none named as lost'}, {rest:,.0f} bytes not accounted for; "
            f"failed requests: {sum(each['failures'] for each in beside):.0f}"
        )
    return lines


SHARING_SECTION = Section(
    "sharing",
    "App and agent in control groups on one saturated core",
    (
        Column("1,000 requests/s", "throughput", factor=1e-3),
        Column("p99 ms", "p99_us", factor=1e-3),
        Column("failed", "failures"),
        Column("app % of core", "app_core_share", factor=100),
        Column("agent % of core", "agent_core_share", factor=100),
        Column("% delivered", "share_delivered", factor=100),
    ),
    measure,
    notes,
)
