"""Which pods come next."""

import pytest

from podmirror.roster import PodView, Roster, newcomers


def view(
    name: str, *, ready: bool = True, created: float = 0.0, leaving: str = "", unfit: str = ""
) -> PodView:
    return PodView(name, f"uid-{name}", created, ready, leaving, unfit or leaving)


@pytest.mark.parametrize(
    ("pods", "most", "chosen"),
    [
        ([], 1, []),
        ([view("a"), view("b")], 1, ["a"]),
        ([view("a"), view("b"), view("c")], 2, ["a", "b"]),
        ([view("old", created=1), view("new", created=2)], 1, ["new"]),
        ([view("a", ready=False), view("b", leaving="is being deleted"), view("c", unfit="is odd")], 9, []),
        ([view("mine"), view("a")], 1, []),
        ([view("mine"), view("a"), view("b")], 2, ["a"]),
        ([view("mine", leaving="is being deleted"), view("a")], 1, ["a"]),
        ([view("mine", ready=False), view("a")], 1, []),
        ([view("failed"), view("a")], 9, ["a"]),
    ],
)
def test_who_is_to_be_mirrored_beside_those_that_are(pods, most, chosen):
    found = newcomers(Roster(tuple(pods)), {"uid-mine"}, {"uid-failed"}, most)

    assert [pod.name for pod in found] == chosen


def test_a_pod_of_the_same_name_is_another():
    before = view("db-0")
    after = PodView("db-0", "uid-other", 0.0, ready=True)

    assert Roster((before,)).leaving(before) == ""
    assert Roster((after,)).leaving(before) == "is no longer among its pods"
    assert Roster((), ended="the workload is gone").leaving(before) == "is gone"
    assert Roster((view("db-0", leaving="is being deleted"),)).leaving(before) == "is being deleted"
