"""Secrets that were seen in heads, looked for in what else is said on their connection: servers echo what they were sent."""

import re

LEAST_BYTES = 12
"""Shorter values, as of a cookie that names a language, stand in texts that have nothing to do with them."""

MOST_BYTES = 8192
"""Longer ones are no fields that servers take."""

MOST_SECRETS = 32
"""Of a connection; then the oldest is forgotten."""

_PREFIX_BYTES = 8


class Echoes:
    """The secrets of one connection."""

    def __init__(self) -> None:
        self._secrets: dict[bytes, None] = {}
        self._pattern: re.Pattern[bytes] | None = None

    def add(self, secret: bytes) -> None:
        """Look for this value from now on."""
        if not LEAST_BYTES <= len(secret) <= MOST_BYTES or secret in self._secrets:
            return
        self._secrets[secret] = None
        if len(self._secrets) > MOST_SECRETS:
            del self._secrets[next(iter(self._secrets))]
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))

    @property
    def pattern(self) -> re.Pattern[bytes] | None:
        """What matches any of them; None if there is none."""
        return self._pattern

    def unfinished(self, text: bytes) -> int:
        """Give where in a text one of them may begin and not be over; its length if none does."""
        return min((_unfinished(text, secret) for secret in self._secrets), default=len(text))


def _unfinished(text: bytes, secret: bytes) -> int:
    at = max(0, len(text) - len(secret) + 1)
    while (at := text.find(secret[:_PREFIX_BYTES], at)) >= 0:
        if secret.startswith(text[at:]):
            return at
        at += 1
    for size in range(min(_PREFIX_BYTES - 1, len(text)), 0, -1):
        if text.endswith(secret[:size]):
            return len(text) - size
    return len(text)
