"""Captures under real TCP: bulk, many connections, and a connection for each request."""

import shutil

from benchmarks.captures import AGENT, COMPILED, NOTHING, READER, TCPDUMP, TCPDUMP_U
from benchmarks.comparison import compare
from benchmarks.sections import Column, Section
from benchmarks.transfers import Requests, Stream

CAPTURES = (NOTHING, AGENT, COMPILED, TCPDUMP, TCPDUMP_U, READER)
"""scapy.sniff and dumpcap have their figures under `packets`."""

BULK = (
    Stream(connections=8, size=100_000, rate=1_000),
    Stream(connections=8, size=100_000, rate=4_000),
    *((Stream(connections=8, size=100_000, rate=1_000, offloads=False),) if shutil.which("ethtool") else ()),
)

CONNECTIONS = (
    Stream(connections=1_000, size=200, rate=20_000),
    Requests(connections=64, rate=2_000, once=True),
)

BULK_SECTION = Section(
    "bulk",
    "CPU time per GiB of payload",
    (
        Column("% of its rate", "rate_share", factor=100),
        Column("packets", "packets"),
        Column("kernel drops", "drops"),
        Column("% delivered", "delivered_share", factor=100),
        Column("CPU s/GiB", "cpu_seconds_per_gib"),
        Column("x tcpdump | cat", "cpu_seconds_per_gib", over=TCPDUMP),
        Column("x its tcpdump", "own_cpu_seconds_per_gib", over=TCPDUMP),
        Column("x C ring reader", "cpu_seconds_per_gib", over=READER),
        Column("% of a core", "core_share", factor=100),
    ),
    lambda asked: compare("bulk", BULK, asked, CAPTURES),
)

CONNECTIONS_SECTION = Section(
    "connections",
    "Many connections, and short ones",
    (
        Column("% of its rate", "rate_share", factor=100),
        Column("packets", "packets"),
        Column("kernel drops", "drops"),
        Column("% delivered", "delivered_share", factor=100),
        Column("CPU us/packet", "us_per_packet"),
        Column("x tcpdump -U", "us_per_packet", over=TCPDUMP_U),
        Column("RSS MiB", "resident_bytes", factor=1 / (1 << 20)),
        Column("failed", "load_failures"),
    ),
    lambda asked: compare("connections", CONNECTIONS, asked, CAPTURES),
)
