"""The plain view: a line for each exchange, and more of it where that is asked for.

What came from the network is escaped before it is written.
"""

from podmirror.inspection.bodies import body_lines
from podmirror.inspection.connection import ConnectionSummary
from podmirror.inspection.escape import escaped
from podmirror.inspection.exchange import Exchange, Message
from podmirror.inspection.sink import Sink
from podmirror.inspection.timestamps import timestamp
from podmirror.stats import amount

HEADERS = 1
BODIES = 2
"""Levels of verbosity: what each adds."""

_METHOD_WIDTH = 7
"""Of OPTIONS, and of CONNECT."""
_TARGET_WIDTH = 40
_AMOUNT_WIDTH = 8
_LATENCY_WIDTH = 11
_FEW_MS = 10
"""Below which hundredths are told apart: a server on the same machine answers in less than one."""


class PlainRenderer:
    """Writes records as lines."""

    def __init__(self, stream: Sink, verbosity: int = 0) -> None:
        self._stream = stream
        self._verbosity = verbosity

    def receive(self, record: Exchange | ConnectionSummary) -> None:
        """Write a finished exchange or connection."""
        if isinstance(record, ConnectionSummary):
            lines = [connection_line(record)]
        else:
            lines = [exchange_line(record)]
            if self._verbosity >= HEADERS:
                lines += self._messages(record)
        self._stream.write("\n".join(lines) + "\n")

    def finish(self) -> None:
        """Write what is left."""
        self._stream.flush()

    def _messages(self, exchange: Exchange) -> list[str]:
        request, response = exchange.request, exchange.response
        lines = [f"  > {escaped(f'{request.method} {request.target} HTTP/{request.version}')}"]
        lines += self._message(request, ">")
        if response is not None:
            lines.append(f"  < {escaped(f'HTTP/{response.version} {response.status} {response.reason}')}")
            lines += self._message(response, "<")
        return [*lines, ""]

    def _message(self, message: Message, mark: str) -> list[str]:
        lines = [f"  {mark} {escaped(name)}: {escaped(value)}" for name, value in message.headers]
        if self._verbosity >= BODIES:
            lines += [f"  {mark}   {line}" for line in body_lines(message)]
        return lines


def exchange_line(exchange: Exchange) -> str:
    """Give an exchange as a line."""
    fields = [
        timestamp(exchange.began),
        *_pod(exchange),
        f"{escaped(exchange.request.method):<{_METHOD_WIDTH}}",
        f"{escaped(exchange.request.target):<{_TARGET_WIDTH}}",
        status(exchange),
        f"{latency(exchange):>{_LATENCY_WIDTH}}",
        f"{amount(exchange.request.size):>{_AMOUNT_WIDTH}}",
        f"{amount(exchange.response.size) if exchange.response else '-':>{_AMOUNT_WIDTH}}",
        ", ".join([exchange.state.value, *remarks(exchange)]),
    ]
    return " ".join(fields)


def connection_line(summary: ConnectionSummary) -> str:
    """Give a connection that is not HTTP/1 as a line."""
    fields = [
        timestamp(summary.began),
        *_pod(summary),
        f"{'-':<{_METHOD_WIDTH}}",
        f"{summary.initiator} > {summary.responder} {look(summary)}",
        f"{summary.seconds:,.3f} s",
        *(f"{amount(size):>{_AMOUNT_WIDTH}}" for size in summary.bytes),
        ", ".join([summary.state.value, *remarks(summary)]),
    ]
    return " ".join(fields)


def _pod(record: Exchange | ConnectionSummary) -> list[str]:
    """Name the pod; a capture file has none."""
    return [escaped(record.pod)] if record.pod else []


def look(summary: ConnectionSummary) -> str:
    """Say what a connection looks like."""
    return escaped(f"{summary.protocol} ({summary.detail})" if summary.detail else summary.protocol)


def status(exchange: Exchange) -> str:
    """Give the status, or a dash if there was no response."""
    return "  -" if exchange.status is None else f"{exchange.status:03d}"


def latency(exchange: Exchange) -> str:
    """Give the time to the response's last byte, or to its first if its end was not seen."""
    if exchange.last_byte_ms is not None:
        return _milliseconds(exchange.last_byte_ms)
    return "-" if exchange.first_byte_ms is None else f">{_milliseconds(exchange.first_byte_ms)}"


def _milliseconds(time: float) -> str:
    return f"{time:.2f} ms" if time < _FEW_MS else f"{time:,.1f} ms"


def remarks(record: Exchange | ConnectionSummary) -> list[str]:
    """Say what else is worth knowing."""
    found = []
    if isinstance(record, Exchange):
        if record.upgrade:
            found.append(f"now {escaped(record.upgrade)}")
        if record.redacted:
            found.append("redacted")
        missing, left_out = record.missing_bytes, record.left_out_bytes
    else:
        missing, left_out = record.missing, record.left_out
    if missing:
        found.append(f"{amount(missing)} missing")
    if left_out:
        found.append(f"{amount(left_out)} left out")
    return found
