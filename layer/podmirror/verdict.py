"""The ledger in words, for the end of a session."""

from collections.abc import Mapping, Sequence

from podmirror.forwarding import Outcome
from podmirror.ledger import Fate, LayerLedger, Move

_LISTED = {
    Outcome.TLS: "in TLS, which cannot be replayed",
    Outcome.SERVER_FIRST: "of a protocol in which the server speaks first, which cannot be replayed",
    Outcome.UNJOINED: "open before the session began, in which no HTTP/1 request was recognised",
    Outcome.HTTP2: "open before the session began, in HTTP/2, which cannot be joined late",
    Outcome.SKIPPED: "open before the session began, which --late-joins skip leaves out",
    Outcome.FILTERED: "of which nothing was selected",
}

_GIVEN_UP = {
    Outcome.CUT: "given up by the agent, because its buffers were full",
    Outcome.SHED: "shed by the agent, because its CPU budget was used up",
}

_SAID_OF_BYTES = {
    Fate.MISSED: "missed by the capture",
    Fate.CUT: "given up by the agent, because its buffers were full",
    Fate.SHED: "in connections that the agent shed",
    Fate.LOCAL_FAILURE: "not taken by the local process",
    Fate.BEHIND_GAP: "behind a gap, in a connection that was not rejoined",
    Fate.LEFT_OUT: "left out in the pod, as not selected or not to be redacted safely",
    Fate.BEFORE_JOIN: "passed over on the way to a request to join at",
    Fate.UNFINISHED: "too few to tell what they begin",
    Fate.LOCAL_ENDED: "for a local process that had ended",
    Fate.GIVEN_UP: "still at the agent when it closed their connection",
    Fate.WAITING: "still on their way to the local process when the session ended",
}
"""Bytes of the other fates are those of the connections that are listed."""

MOVES_TOLD = 5
"""The JSON has them all."""

_DAY_SECONDS = 24 * 60 * 60


def sentences(ledger: LayerLedger, pods: Sequence[tuple[str, LayerLedger]] = ()) -> list[str]:
    """Give everything that is worth saying at the end of a session, a sentence each.

    Args:
        ledger: Of all pods.
        pods: The names of the pods and the ledger of each; they are told if there are several.
    """
    said = [
        f"{counted(ledger.connections, 'connection')} mirrored: {ledger.complete:,} complete, "
        f"{ledger.outcomes[Outcome.JOINED]:,} joined late, {ledger.lost:,} with loss; "
        f"{counted(ledger.delivered_bytes, 'byte')} delivered."
    ]
    if len(pods) > 1:
        said += [_of_pod(name, part) for name, part in pods]
    said += _of_connections(ledger)
    not_delivered = ledger.not_delivered()
    said += [
        f"{counted(not_delivered[fate], 'byte')}: {what}."
        for fate, what in _SAID_OF_BYTES.items()
        if not_delivered[fate]
    ]
    said += _of_the_agent(ledger)
    if ledger.moves:
        said.append(_of_moves(ledger.moves))
    if ledger.restarts:
        said.append(
            f"The tunnel was lost for so long that the session began anew, {counted(ledger.restarts, 'time')}: what passed "
            "meanwhile is not counted here."
        )
    if ledger.cut_short:
        said.append(
            "The agent was lost: what it had not sent by then, and all traffic since, is not counted here."
        )
    elif ledger.nothing_lost:
        said.append("Nothing was lost.")
    return said


def counted(number: int, what: str) -> str:
    """Give a number with its unit in words."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _of_pod(name: str, ledger: LayerLedger) -> str:
    return (
        f"Pod {name}: {counted(ledger.connections, 'connection')}, {ledger.lost:,} with loss; "
        f"{counted(ledger.delivered_bytes, 'byte')} delivered."
    )


def _of_moves(moves: Sequence[Move]) -> str:
    told = [
        f"from pod {move.origin} to pod {move.successor} ({move.seconds:.1f} s)"
        if move.origin and move.successor
        else f"away from pod {move.origin}"
        if move.origin
        else f"to pod {move.successor} ({move.seconds:.1f} s)"
        for move in moves[:MOVES_TOLD]
    ]
    if len(moves) > len(told):
        told.append(f"and {counted(len(moves) - len(told), 'time')} more")
    return (
        f"The session moved {counted(len(moves), 'time')}: {', '.join(told)}; what a pod received in that time, "
        "and what one that went away received after its agent's end, is not counted here."
    )


def _of_connections(ledger: LayerLedger) -> list[str]:
    said = [f"{counted(number, 'connection')}: {trouble}." for trouble, number in ledger.troubles.items()]
    for outcome, why in _GIVEN_UP.items():
        number = ledger.outcomes[outcome] + ledger.unannounced[outcome]
        if number:
            said.append(f"{counted(number, 'connection')} {why}.")
    said += [
        f"{counted(ledger.outcomes[outcome], 'connection')} {why}: not delivered."
        for outcome, why in _LISTED.items()
        if ledger.outcomes[outcome]
    ]
    if ledger.outcomes[Outcome.UNFINISHED]:
        said.append(f"{counted(ledger.outcomes[Outcome.UNFINISHED], 'connection')} had not ended.")
    if ledger.outcomes[Outcome.WITHHELD]:
        said.append(
            f"{counted(ledger.outcomes[Outcome.WITHHELD], 'connection')} had a request that could not be redacted safely: "
            "it was left out."
        )
    return said


def _of_the_agent(ledger: LayerLedger) -> list[str]:
    agent = ledger.agent
    said = of_the_screen(agent)
    if agent.get("kernel_drops"):
        first, last = agent.get("first_drop_time", 0), agent.get("last_drop_time", 0)
        when = f" between {_clock(first)} and {_clock(last)} (UTC, the pod's clock)" if first else ""
        said.append(f"The agent's kernel dropped {counted(agent['kernel_drops'], 'packet')}{when}.")
    if agent.get("fragments_lost"):
        said.append(f"The agent gave up {counted(agent['fragments_lost'], 'IP fragment')}.")
    if agent.get("untracked"):
        said.append(
            f"The agent passed over {counted(agent['untracked'], 'packet')} of connections over its limit."
        )
    return said


def of_the_screen(counts: Mapping[str, int]) -> list[str]:
    """Give what an agent selected and redacted, a sentence each."""
    said = []
    if counts.get("filtered_exchanges"):
        unjudged, size = counts.get("unjudged_exchanges", 0), counted(counts.get("filtered_bytes", 0), "byte")
        said.append(
            f"{counted(counts['filtered_exchanges'], 'exchange')} filtered in the pod, {size}"
            + (
                f"; {unjudged:,} of them ended, or were too large, before they could be judged."
                if unjudged
                else "."
            )
        )
    if counts.get("redacted_values"):
        said.append(f"{counted(counts['redacted_values'], 'value')} redacted in the pod.")
    if counts.get("redacted_out_bytes"):
        said.append(
            f"{counted(counts['redacted_out_bytes'], 'byte')} left out in the pod, because they cannot be redacted safely."
        )
    return said


def _clock(nanoseconds: int) -> str:
    """Give the time of the day."""
    minutes, seconds = divmod(nanoseconds // 10**9 % _DAY_SECONDS, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
