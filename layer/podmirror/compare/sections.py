"""A comparison as tables of text, whatever they are printed with: a section for each question. No I/O."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from podmirror.compare import words
from podmirror.compare.cost import per_gibibyte, per_million_packets
from podmirror.compare.figures import PHASES, Ask, Column, Comparison, Mode, Run, Window
from podmirror.compare.namespaces import KINDS, sharing
from podmirror.compare.rows import Row, Section, figures, median_of, row, shares, texts
from podmirror.compare.spread import Figure, Unknown, quantile, spread
from podmirror.ledger import LayerLedger

NOT_A_PHASE = "no such step"


def sections(comparison: Comparison) -> list[Section]:
    """Give everything that was found."""
    columns = comparison.columns
    return [
        Section(
            "Start",
            "Each phase from the end of the one before: the median, and the least to the most.",
            _start(columns),
        ),
        Section("Fidelity", "Of the traffic while the agent was subscribed, all runs.", _fidelity(columns)),
        Section("Cost", "Of the agent, from its subscription to the end of the traffic.", _cost(columns)),
        Section("Ask", "What it takes to start such an agent.", _ask(columns)),
        Section(
            "Namespaces",
            "Whether agent and target share them, by the inode numbers of /proc/PID/ns; of the last run.",
            _namespaces(columns),
        ),
        Section("Effect on the target", "What the app's clients felt.", _effect(columns)),
        Section("Left behind", "After the session's end.", _left(columns)),
    ]


def _start(columns: Sequence[Column]) -> tuple[Row, ...]:
    def phase(name: str) -> Callable[[Column], str]:
        def cell(column: Column) -> str:
            found = [run.phases[name] for run in column.runs if name in run.phases]
            return words.spread(spread(found), words.seconds) if found else NOT_A_PHASE

        return cell

    rows = [row(columns, name, phase(name)) for name in PHASES]
    rows.append(figures(columns, "until subscribed, in all", lambda run: run.start, words.seconds))
    rows.append(Row("runs", tuple(str(len(column.runs)) for column in columns)))
    if any(column.refusals for column in columns):
        rows.append(Row("refused", tuple("; ".join(each.refusals) or "no" for each in columns)))
    if any(column.failures for column in columns):
        rows.append(Row("failed", tuple("; ".join(each.failures) or "none" for each in columns)))
    return tuple(rows)


def _fidelity(columns: Sequence[Column]) -> tuple[Row, ...]:
    def latency(share: float) -> Callable[[Run], Figure]:
        return lambda run: quantile(run.fidelity.latencies, share)

    def in_all(share: float) -> Callable[[Run], Figure]:
        return lambda run: quantile(run.fidelity.sent_to_delivered, share)

    to = next((run.fidelity.latency_to for column in columns for run in column.runs), "this machine")
    ledger: Callable[[Run], LayerLedger] = lambda run: run.fidelity.ledger  # noqa: E731  # one of a row of lambdas
    return (
        shares(
            columns,
            "our own requests delivered",
            lambda run: run.fidelity.arrived_requests,
            lambda run: run.fidelity.passed_requests,
            words.number,
        ),
        figures(columns, "connections mirrored", lambda run: float(ledger(run).connections), words.number),
        shares(
            columns,
            "bytes delivered, of all that passed by the agent's count",
            lambda run: float(ledger(run).delivered_bytes),
            lambda run: float(passed_bytes(ledger(run))),
            words.number,
        ),
        texts(columns, "lost", _losses),
        figures(
            columns,
            f"a connection's first packet (the pod's clock) to {to}, p50",
            latency(0.5),
            words.seconds,
        ),
        figures(columns, "the same, p99", latency(0.99), words.seconds),
        figures(
            columns, "a request sent to its copy delivered (this clock), p50", in_all(0.5), words.seconds
        ),
        figures(columns, "the same, p99", in_all(0.99), words.seconds),
        row(columns, "the pod's clock, minus ours", _clock),
    )


def passed_bytes(ledger: LayerLedger) -> int:
    """Give the payload that passed, as the sequence numbers told the agent, what it missed included."""
    return ledger.agent.get("bytes_seen", 0) + ledger.agent.get("gap_bytes", 0)


def losses(ledger: LayerLedger) -> dict[str, int]:
    """Give what was lost or not delivered, by place."""
    places = {
        "kernel drops (packets)": ledger.agent.get("kernel_drops", 0),
        **{
            f"{fate.value.replace('_', ' ')} (bytes)": count for fate, count in ledger.not_delivered().items()
        },
    }
    return {name: count for name, count in places.items() if count}


def _losses(run: Run) -> str:
    told = ", ".join(f"{name} {count:,}" for name, count in losses(run.fidelity.ledger).items())
    return (told or "nothing") + (
        ", and perhaps more: the agent was lost" if run.fidelity.ledger.cut_short else ""
    )


def _clock(column: Column) -> str:
    clocks = [run.fidelity.clock for run in column.runs if not isinstance(run.fidelity.clock, Unknown)]
    if not clocks:
        return words.unknown("no ping was answered")
    best = min(clocks, key=lambda each: each.uncertainty)
    return f"{words.seconds(best.offset)} ± {words.seconds(best.uncertainty)}"


def _cost(columns: Sequence[Column]) -> tuple[Row, ...]:
    return (
        figures(columns, "CPU", lambda run: run.cost.cpu, words.seconds),
        figures(columns, "in", lambda run: run.cost.seconds, words.seconds),
        figures(columns, "for payload", lambda run: run.cost.seen_bytes, words.size),
        figures(columns, "for packets", lambda run: run.cost.packets, words.number),
        figures(columns, "CPU per GiB", lambda run: per_gibibyte(run.cost), words.seconds),
        figures(columns, "CPU per million packets", lambda run: per_million_packets(run.cost), words.seconds),
        figures(columns, "memory of its own (RssAnon)", lambda run: run.cost.memory_anonymous, words.size),
        figures(columns, "memory with the packet ring (VmRSS)", lambda run: run.cost.memory, words.size),
        figures(columns, "the same at most (VmHWM)", lambda run: run.cost.memory_peak, words.size),
        figures(columns, "charged to its container (memory.current)", _charged, words.size),
        figures(
            columns, "through the tunnel, from the agent", lambda run: float(run.cost.tunnel_in), words.size
        ),
        figures(
            columns, "through the tunnel, to the agent", lambda run: float(run.cost.tunnel_out), words.size
        ),
        texts(columns, "counts against the limits of", _limits),
    )


def _charged(run: Run) -> Figure:
    charged = run.cost.limits.get("cgroup.memory.current")
    return float(charged) if charged is not None else Unknown("the agent sees no control group of its own")


def _limits(run: Run) -> str:
    whose = (
        "its own container" if run.mode is Mode.JOB else "the target's pod: an ephemeral container has none"
    )
    memory, cpu = (run.cost.limits.get(f"cgroup.{name}.max") for name in ("memory", "cpu"))
    if memory is None or cpu is None:
        return f"{whose} (not verified: the agent sees no control group of its own)"
    quota, period = cpu.split()
    cores = "no CPU limit" if quota == "max" else f"{int(quota) / int(period):g} CPU"
    room = "no memory limit" if memory == "max" else words.size(float(memory))
    return f"{whose} (by its control group: {room}, {cores})"


def _ask(columns: Sequence[Column]) -> tuple[Row, ...]:
    def of(tell: Callable[[Ask], str]) -> Callable[[Run], str]:
        return lambda run: tell(run.ask) if run.ask else words.unknown("the agent's pod was not seen")

    entry, job = "an entry in the pod's spec, which stays", "a Job and its pod, deleted at the end"
    return (
        texts(columns, "capabilities", of(_capabilities)),
        texts(columns, "of these", of(lambda ask: ask.held)),
        texts(columns, "host namespaces", of(lambda ask: ", ".join(ask.host_namespaces) or "none")),
        texts(columns, "Pod Security level", of(lambda ask: ask.level)),
        Row("RBAC", tuple("; ".join(column.verbs) for column in columns)),
        Row("creates", tuple(job if column.mode is Mode.JOB else entry for column in columns)),
    )


def _capabilities(ask: Ask) -> str:
    if ask.privileged:
        return "all (privileged)"
    dropped = f"drops {', '.join(ask.dropped)}" if ask.dropped else "keeps the runtime's default set"
    return f"adds {', '.join(ask.added) or 'none'}, {dropped}"


def _namespaces(columns: Sequence[Column]) -> tuple[Row, ...]:
    known = target_namespaces(columns)

    def told(kind: str) -> Callable[[Column], str]:
        def cell(column: Column) -> str:
            last = column.runs[-1]
            return sharing(kind, last.namespaces, last.target_namespaces or known)

        return cell

    return tuple(row(columns, kind, told(kind)) for kind in KINDS)


def target_namespaces(columns: Iterable[Column]) -> Mapping[str, str]:
    """Give the target's namespaces as some agent saw them: the numbers are the node's, and so the same for all."""
    seen = [run.target_namespaces for column in columns for run in column.runs if run.target_namespaces]
    return seen[-1] if seen else {}


def _effect(columns: Sequence[Column]) -> tuple[Row, ...]:
    def pair(get: Callable[[Run], tuple[str, str] | Unknown]) -> Callable[[Run], str]:
        def text(run: Run) -> str:
            values = get(run)
            if isinstance(values, Unknown):
                return words.unknown(values.reason)
            return " → ".join(value or "none" for value in values)

        return text

    return (
        *(
            row(columns, f"requests {when}", _requests(when))
            for when in ("before", "starting", "during", "after")
        ),
        figures(
            columns, "restarts of the target's containers", lambda run: run.effect.restarts, words.number
        ),
        texts(columns, "TCP sockets in the target's network", pair(lambda run: run.effect.sockets)),
        texts(columns, "xtables in the target's network", pair(lambda run: run.effect.tables)),
        texts(columns, "firewall rules", _rules),
    )


def _requests(when: str) -> Callable[[Column], str]:
    def cell(column: Column) -> str:
        found = [run.effect.windows[when] for run in column.runs]
        windows = [each for each in found if isinstance(each, Window)]
        if not windows:
            return words.unknown(
                next((each.reason for each in found if isinstance(each, Unknown)), "not measured")
            )
        p50, p99 = (
            words.spread(spread(quantile(each.latencies, share) for each in windows), words.seconds)
            for share in (0.5, 0.99)
        )
        failed, all_of_them = (
            sum(getattr(each, name) for each in windows) for name in ("failed", "requests")
        )
        return f"p50 {p50}, p99 {p99}; {failed} of {all_of_them:,} failed"

    return cell


def _rules(run: Run) -> str:
    if run.ask is not None and run.ask.may_change_rules is False:
        return "none changed: the agent was never given NET_ADMIN, without which the kernel lets nobody change them"
    return words.unknown("to read them takes NET_ADMIN, which no agent asks for")


def _left(columns: Sequence[Column]) -> tuple[Row, ...]:
    def gone(column: Column) -> str:
        if column.mode is not Mode.JOB:
            return "no Job"
        return words.spread(median_of(column, lambda run: run.leftovers.gone), words.seconds)

    return (
        row(columns, "remains", _remains),
        figures(columns, "the agent had ended after", lambda run: run.leftovers.ended, words.seconds),
        row(columns, "the Job was gone after", gone),
    )


def _remains(column: Column) -> str:
    entries = entries_left(column)
    if entries is None:
        return words.unknown("the pod could not be read")
    if not entries:
        return "nothing"
    return f"{words.counted(entries, 'finished entry', 'finished entries')} in the pod's spec, for the pod's life"


def entries_left(column: Column) -> int | None:
    """Count the entries that a mode's runs left in the pod's spec; None if that is not known."""
    if column.mode is Mode.JOB:
        return 0  # what came in the meantime is another mode's
    pairs = [run.leftovers.entries for run in column.runs]
    return None if any(-1 in pair for pair in pairs) else sum(pair[1] for pair in pairs)
