from podmirror.compare.namespaces import KINDS, shared, sharing


def test_they_are_shared_if_the_numbers_are_equal():
    assert sharing("net", {"net": "4"}, {"net": "4"}) == "shared (4)"
    assert sharing("net", {"net": "4"}, {"net": "5"}) == "apart (4, target 5)"
    assert shared("net", {"net": "4"}, {"net": "4"}) is True
    assert shared("net", {"net": "4"}, {"net": "5"}) is False


def test_what_was_not_seen_is_unknown():
    assert sharing("pid", {"pid": "4"}, {}).startswith("unknown: the target's processes do not show")
    assert (
        sharing("pid", {"pid": "4"}, {"pid": "- Permission denied"})
        == "unknown: Permission denied (the agent's is 4)"
    )
    assert (
        sharing("pid", {"pid": "- Gone"}, {"pid": "4"}) == "unknown: the agent's own could not be read (Gone)"
    )
    assert shared("pid", {"pid": "4"}, {}) is None


def test_all_seven():
    assert len(KINDS) == 7
