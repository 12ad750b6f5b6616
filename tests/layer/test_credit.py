"""Credit is given seldom, and never so late that a connection stalls."""

from hypothesis import given
from hypothesis import strategies as st

from podmirror.credit import STEP_BYTES, WINDOW_BYTES, Credit
from podmirror_http.boundary import MAX_HEAD_BYTES

sizes = st.lists(
    st.one_of(st.integers(1, 100), st.integers(1, WINDOW_BYTES), st.just(STEP_BYTES - 1)), max_size=50
)


def test_a_quarter_of_the_window_is_one_step():
    credit = Credit()

    assert [credit.take(STEP_BYTES - 1), credit.take(1), credit.take(1)] == [0, STEP_BYTES, 0]


@given(sizes)
def test_what_is_consumed_is_given_back_but_for_less_than_a_quarter_of_the_window(consumed):
    credit = Credit()
    given_back = [credit.take(size) for size in consumed]

    assert 0 <= sum(consumed) - sum(given_back) < STEP_BYTES
    assert all(step == 0 or step >= STEP_BYTES for step in given_back)


@given(sizes, st.integers(0, MAX_HEAD_BYTES))
def test_a_sender_can_always_go_on(wanted, held):
    """Even while the layer holds back a head that is not complete, for which it gives no credit yet."""
    credit = Credit()
    window = WINDOW_BYTES - held
    for size in wanted:
        while size:
            piece = min(size, window)
            assert piece > 0
            window += credit.take(piece) - piece
            size -= piece  # noqa: PLW2901  # what of it is left to send
        assert window >= WINDOW_BYTES // 2
