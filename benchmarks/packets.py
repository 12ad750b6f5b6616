"""CPU time per packet: every capture under the same paced frames."""

from benchmarks.captures import SNIFF, TCPDUMP_U
from benchmarks.comparison import compare
from benchmarks.injection import Injection
from benchmarks.sections import Column, Section

LOADS = (
    Injection(payload=200, rate=50_000),
    Injection(payload=200, rate=200_000, ack_every=64),
    Injection(payload=1_400, rate=50_000),
)

COLUMNS = (
    Column("% of its rate", "rate_share", factor=100),
    Column("% seen", "seen_share", factor=100),
    Column("kernel drops", "drops"),
    Column("CPU us/packet", "us_per_packet"),
    Column("x tcpdump -U", "us_per_packet", over=TCPDUMP_U),
    Column("x less than sniff", "packets_per_us", over=SNIFF),
    Column("% delivered", "delivered_share", factor=100),
)


PACKETS = Section(
    "packets",
    "CPU time per packet, capture to tunnel",
    COLUMNS,
    lambda asked: compare("packets", LOADS, asked),
)
