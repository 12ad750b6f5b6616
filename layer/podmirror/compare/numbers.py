"""The header by which a request of our own load is known again in what was mirrored. No I/O."""

import re

HEADER = "X-Podmirror-Compare"
NUMBER = re.compile(HEADER.encode() + rb": (\d+)\r\n", re.IGNORECASE)
