from podmirror.compare.asmarkdown import to_markdown
from tests.layer.compare.samples import both


def test_every_table_has_as_many_cells_in_each_row():
    lines = [line.replace("\\|", "") for line in to_markdown(both()).splitlines() if line.startswith("| ")]

    assert lines
    assert {line.count("|") for line in lines} == {4}


def test_words_are_no_markup():
    assert r"> mind the &lt;gap&gt; \| of \*it\*" in to_markdown(both())
