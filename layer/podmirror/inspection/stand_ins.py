"""Whether an exchange holds stand-ins for secrets, as far as that shows.

The agent says how many values it replaced, not where. A field that always carries a secret is told by its name, and a stand-in
of 17 bytes or more by its mark; a shorter one, that a rule put into a body, shows nothing.
"""

from collections.abc import Callable

from podmirror.inspection.exchange import Exchange, Message
from podmirror_http.pseudonyms import MARK
from podmirror_http.redaction import Rules, is_secret_field

_MARK_TEXT = MARK.decode("ascii")


def redaction_detector(rules: Rules | None) -> Callable[[Exchange], bool]:
    """Give what tells whether an exchange holds stand-ins.

    Args:
        rules: What the agents redact besides the usual; None if they redact nothing.
    """
    if rules is None:
        return lambda _: False

    def detect(exchange: Exchange) -> bool:
        messages = [exchange.request, exchange.response] if exchange.response else [exchange.request]
        return _MARK_TEXT in exchange.request.target or any(_shows(each, rules) for each in messages)

    return detect


def _shows(message: Message, rules: Rules) -> bool:
    return MARK in message.body.kept or any(
        value and (_MARK_TEXT in value or is_secret_field(name, rules)) for name, value in message.headers
    )
