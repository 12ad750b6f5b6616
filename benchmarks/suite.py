"""All sections, in the order in which they run."""

from benchmarks.packets import PACKETS
from benchmarks.sections import Section

SECTIONS: tuple[Section, ...] = (PACKETS,)
