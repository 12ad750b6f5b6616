from podmirror.compare.numbers import NUMBER, request


def test_a_request_is_known_by_its_number_even_if_a_proxy_changed_the_case():
    found = NUMBER.search(request(42, "/", 0).lower())

    assert found is not None
    assert int(found[1]) == 42
