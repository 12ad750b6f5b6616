"""The view of exchanges."""

from podmirror.inspection.connection import Record
from podmirror.inspection.ending import Ending
from podmirror.inspection.exchangeview import ExchangeView
from tests.layer.frames import HEAD, Talk

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Recorder:
    """A renderer that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.finished = 0

    def receive(self, record: Record) -> None:
        self.records.append(record)

    def finish(self) -> None:
        self.finished += 1


def show(count: int | None) -> tuple[Recorder, ExchangeView, list[str]]:
    enough: list[str] = []
    recorder = Recorder()
    return (
        recorder,
        ExchangeView(recorder, Ending(count), lambda: enough.append("enough"), body_bytes=9),
        enough,
    )


def test_connections_of_several_pods_are_told_apart():
    recorder, view, _ = show(None)
    one, two = Talk(1), Talk(1)
    for frame in (one.opened(), one.says(HEAD)):
        view.receive_frame("a", frame)
    for frame in (two.opened(), two.says(HEAD), two.answers(OK)):
        view.receive_frame("b", frame)

    assert [record.pod for record in recorder.records] == ["b"]
    assert [record.pod for record in view.in_progress()] == ["a"]
    view.finish()
    assert [record.pod for record in recorder.records] == ["b", "a"]
    assert recorder.finished == 1


def test_when_enough_was_shown_that_is_said_once_and_nothing_more_is_shown():
    recorder, view, enough = show(3)
    talk = Talk()
    view.receive_frame("a", talk.opened())
    view.receive_frame("a", talk.says(HEAD * 5))
    view.receive_frame("a", talk.answers(OK * 2))
    assert enough == []
    view.receive_frame("a", talk.answers(OK * 2))
    view.receive_frame("a", talk.answers(OK))
    view.finish()

    assert (len(recorder.records), enough) == (3, ["enough"])
