"""Whatever is said, however it is cut: exchanges pass whole or not at all, in place, and without secrets."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from podmirror_http.heads import read_request_head, read_response_head
from podmirror_http.selection import Selection
from podmirror_wire.values import Direction
from tests.agent.screening import Passage, redact_option, select_option
from tests.http.exchanges import pieces, said

SELECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "methods": st.lists(st.sampled_from(["GET", "POST", "BREW"]), min_size=1, max_size=2),
        "paths": st.lists(st.sampled_from(["/a", "*", "/x"]), min_size=1, max_size=2),
        "statuses": st.lists(st.sampled_from(["2xx", "404", "500-599"]), min_size=1, max_size=2),
    },
)
CUTS = st.lists(st.integers(0, 2000), max_size=10)
SECRET = b"Sssh-Secret-Value"


def steps_of(exchanges, cuts, *, pipelined):
    requests = [(0, each.request) for each in exchanges]
    responses = [(1, each.response) for each in exchanges]
    turns = (
        [*requests, *responses]
        if pipelined
        else itertools.chain.from_iterable(zip(requests, responses, strict=True))
    )
    return [(side, piece) for side, data in turns for piece in pieces(data, cuts)]


@given(st.lists(said(), max_size=5), SELECTIONS, st.booleans(), CUTS)
def test_what_was_selected_passes_whole_and_nothing_else(exchanges, given_one, pipelined, cuts):
    passage = Passage(select=select_option(**given_one))
    passage.say(*steps_of(exchanges, cuts, pipelined=pipelined)).close()

    passage.check_offsets()
    assert passage.budget.held == 0
    wanted = Selection.parse(
        **{name: given_one.get(name, []) for name in ("methods", "paths", "fields", "statuses")}
    )

    def admits(each):
        final = each.response.split(b"Continue\r\n\r\n")[-1]
        head = final[: final.index(b"\r\n\r\n") + 4]
        request = each.request[: each.request.index(b"\r\n\r\n") + 4]
        return wanted.admits_request(read_request_head(request)) and wanted.admits_response(
            read_response_head(head)
        )

    selected = [each for each in exchanges if admits(each)]
    assert passage.kept(0) == b"".join(each.request for each in selected)
    assert passage.kept(1) == b"".join(each.response for each in selected)
    assert [(told[1], told[3]) for told in passage.whole()] == [
        (each.content, each.answer) for each in selected
    ]
    counts = passage.screen.counts()
    assert counts["filtered_exchanges"] == len(exchanges) - len(selected)


@given(st.lists(said(), max_size=4), st.booleans(), CUTS, CUTS, st.sampled_from([(), ("re:Ssh[-\\w]+",)]))
def test_no_secret_passes_and_every_length_stays(exchanges, pipelined, cuts, gaps, rules):
    cookie = b"X-Case: v\r\nCookie: a=" + SECRET + b"\r\nAuthorization: Bearer " + SECRET
    steps = [
        (side, data.replace(b"X-Case: v", cookie).replace(b"Server: x", b"Set-Cookie: b=" + SECRET))
        for each in exchanges
        for side, data in ((0, each.request), (1, each.response))
    ]
    if pipelined:
        steps.sort(key=lambda step: step[0])
    passage = Passage(redact=redact_option(*rules))
    for number, (side, data) in enumerate(steps):
        for index, piece in enumerate(pieces(data, cuts)):
            if gaps and (number * 7 + index) % 13 == gaps[0] % 13:
                passage.miss(side, len(piece))
            else:
                passage.say((side, piece))
    passage.close()

    passage.check_offsets()
    assert passage.budget.held == 0
    for side in Direction:
        assert SECRET not in passage.kept(side)
    if not gaps:
        assert [len(passage.kept(side)) for side in Direction] == [
            len(passage.originals[side]) for side in Direction
        ]
        assert (
            [(told[1], told[3]) for told in passage.whole()]
            == [(each.content, each.answer) for each in exchanges]
            or rules
            or any(b"earer" in each.content.lower() + each.answer.lower() for each in exchanges)
        )


@given(
    st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=50)), max_size=20),
    st.integers(0, 30_000),
    st.booleans(),
    SELECTIONS,
)
def test_nothing_makes_it_fail_and_the_budget_is_kept(steps, budget, late, given_one):
    passage = Passage(
        select=select_option(**given_one), redact=redact_option("json:$.a"), budget=budget, late=late
    )
    scraps = [
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b'5\r\n{"a":\r\n',
        b"GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n",
    ]
    for kind, data in steps:
        if kind < 2:
            passage.say((kind, data or scraps[len(passage.originals[kind]) % len(scraps)]))
        elif data:
            passage.miss(kind - 2, len(data))
        assert passage.budget.held <= budget
    passage.end(0).end(1).close()

    passage.check_offsets()
    assert passage.budget.held == 0
