"""All sections, in the order in which they run."""

from benchmarks.footprint import FOOTPRINT_SECTION
from benchmarks.latency import LATENCY_SECTION
from benchmarks.packets import PACKETS
from benchmarks.saturation import LOSS_FREE_SECTION, SATURATED_SECTION
from benchmarks.scale import SCALE_SECTION
from benchmarks.sections import Section
from benchmarks.sharing import SHARING_SECTION
from benchmarks.traffic import BULK_SECTION, CONNECTIONS_SECTION

SECTIONS: tuple[Section, ...] = (
    PACKETS,
    SATURATED_SECTION,
    LOSS_FREE_SECTION,
    BULK_SECTION,
    CONNECTIONS_SECTION,
    LATENCY_SECTION,
    FOOTPRINT_SECTION,
    SHARING_SECTION,
    SCALE_SECTION,
)
