from podmirror.compare.phases import durations
from podmirror.compare.spread import Unknown


def test_each_phase_takes_from_the_end_of_the_one_before():
    moments = {"API call": 10.5, "pulled": 11.0, "started": 11.25}

    assert durations(10.0, moments) == {"API call": 0.5, "pulled": 0.5, "started": 0.25}


def test_the_time_of_a_phase_that_was_not_seen_is_in_the_next_one():
    moments = {"API call": 10.5, "pulled": Unknown("no event"), "started": 11.25}

    assert durations(10.0, moments) == {"API call": 0.5, "pulled": Unknown("no event"), "started": 0.75}


def test_a_phase_that_was_seen_late_leaves_the_next_no_time():
    moments = {"pulled": 11.0, "started": 10.9, "forwarded": 11.5}

    assert durations(10.0, moments) == {"pulled": 1.0, "started": 0.0, "forwarded": 0.5}
