import pytest
from hypothesis import given
from hypothesis import strategies as st

from podmirror_agent.governor import ALL_KEPT, BURST_SECONDS, MAX_PAUSE_SECONDS, PERIOD_SECONDS, Governor


class Agent:
    """An agent whose appetite is proportional to the connections that it mirrors."""

    def __init__(self, cores: float) -> None:
        self.governor = Governor(cores, cpu=0.0, now=0.0)
        self.cpu = self.now = 0.0
        self.kept = ALL_KEPT

    def live(self, appetite: float, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += PERIOD_SECONDS
            self.cpu += appetite * PERIOD_SECONDS * self.kept / ALL_KEPT
            verdict = self.governor.measure(self.cpu, self.now)
            self.kept = verdict.kept
            self.now += verdict.pause


def test_agent_within_its_allowance_mirrors_everything():
    agent = Agent(cores=0.5)

    agent.live(appetite=0.49, seconds=100)

    assert agent.kept == ALL_KEPT


def test_burst_within_the_savings_passes():
    agent = Agent(cores=0.1)

    agent.live(appetite=1.0, seconds=0.9 * BURST_SECONDS * 0.1)

    assert agent.kept == ALL_KEPT


@pytest.mark.parametrize("appetite", [0.2, 1.0, 5.0])
def test_agent_that_wants_more_is_held_to_its_allowance(appetite):
    agent = Agent(cores=0.1)

    agent.live(appetite, seconds=60)
    before = agent.cpu, agent.now
    agent.live(appetite, seconds=60)

    used = (agent.cpu - before[0]) / (agent.now - before[1])
    assert 0.05 <= used <= 0.1 + BURST_SECONDS * 0.1 / 60
    assert 0 < agent.kept < ALL_KEPT


def test_burst_far_beyond_the_allowance_is_shed_at_once():
    governor = Governor(0.02, cpu=0.0, now=0.0)

    verdict = governor.measure(PERIOD_SECONDS, PERIOD_SECONDS)

    assert 0 < verdict.kept <= ALL_KEPT * 0.02
    assert verdict.pause == MAX_PAUSE_SECONDS


def test_overflow_sheds_though_the_allowance_is_not_used_up():
    governor = Governor(0.5, cpu=0.0, now=0.0)

    starved = [governor.measure(0.001 * step, PERIOD_SECONDS * step, dropped=True) for step in range(1, 21)]

    assert starved[-1].kept < ALL_KEPT / 2
    assert all(verdict.pause == 0 for verdict in starved)
    assert governor.measure(0.03, 10.0).kept > starved[-1].kept


def test_connections_come_back_when_the_load_is_gone():
    agent = Agent(cores=0.1)
    agent.live(appetite=5.0, seconds=30)

    agent.live(appetite=0.01, seconds=15)

    assert agent.kept == ALL_KEPT


def test_agent_that_cannot_keep_to_it_sheds_everything():
    governor = Governor(0.01, cpu=0.0, now=0.0)
    cpu = now = 0.0
    for _ in range(1000):
        now += PERIOD_SECONDS
        cpu += PERIOD_SECONDS  # whatever is shed: all that comes are handshakes
        verdict = governor.measure(cpu, now)
        now += verdict.pause

    assert verdict.kept == 0
    assert cpu / now == pytest.approx(0.01, rel=0.05)


@given(st.floats(0.001, 64), st.lists(st.tuples(st.floats(0, 10), st.floats(0.001, 10)), max_size=50))
def test_any_course_gives_verdicts_that_can_be_carried_out(cores, steps):
    governor = Governor(cores, cpu=0.0, now=0.0)
    cpu = now = 0.0
    for used, elapsed in steps:
        cpu, now = cpu + used, now + elapsed
        verdict = governor.measure(cpu, now)

        assert 0 <= verdict.kept <= ALL_KEPT
        assert verdict.pause >= 0
