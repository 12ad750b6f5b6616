import pytest

from benchmarks.footprint import parse_size


@pytest.mark.parametrize(
    ("text", "size"), [("98566144\n", 98_566_144), ("234 MB\n", 234_000_000), ("1.5 GB", 1_500_000_000)]
)
def test_sizes_are_read_as_each_tool_writes_them(text: str, size: int) -> None:
    assert parse_size(text) == size
