from benchmarks.children import parse_smaps

SMAPS = """\
55d0c0000000-55d0c0001000 r--p 00000000 fe:00 1234                       /usr/bin/python3.11
Size:                  4 kB
Rss:                   4 kB
VmFlags: rd mr mw me
7f0000000000-7f0000800000 rw-s 00000000 00:08 26001                      socket:[26001]
Size:               8192 kB
Rss:                8192 kB
VmFlags: rd wr sh
7f1000000000-7f1000021000 rw-p 00000000 00:00 0
Size:                132 kB
Rss:                  20 kB
VmFlags: rd wr
"""


def test_packet_rings_are_counted_apart() -> None:
    assert parse_smaps(SMAPS) == (24 << 10, 8192 << 10)
