"""Whether an exchange holds stand-ins."""

import pytest

from podmirror.inspection.exchange import Exchange
from podmirror.inspection.stand_ins import redaction_detector
from podmirror_http.redaction import Rules
from tests.layer.inspection.exchanges import exchange

DETECT = redaction_detector(Rules.parse(["header:X-Tenant"]))


@pytest.mark.parametrize(
    "record",
    [
        exchange(request_headers=(("Authorization", "Bearer x7"),)),
        exchange(request_headers=(("x-tenant", "k2f"),)),
        exchange(response_headers=(("Set-Cookie", "a=b"),)),
        exchange(request_headers=(("Referer", "http://a/?token=redacted-x7k2"),)),
        exchange(target="/?access_token=redacted-x7k2q3"),
        exchange(response_body=b'{"password": "redacted-x7k2q3"}'),
    ],
)
def test_what_carries_secrets_holds_stand_ins(record: Exchange):
    assert DETECT(record)
    assert not redaction_detector(None)(record)


def test_what_carries_none_does_not():
    assert not DETECT(exchange())
    assert not DETECT(exchange(status=None))
    assert not DETECT(exchange(request_headers=(("Cookie", ""),)))
