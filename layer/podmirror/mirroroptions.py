"""What `mirror` and `exec` share on the command line: where traffic comes from, which of it, and how it is delivered."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from podmirror.filteroptions import filter_options, take_settings
from podmirror.localagent import Reading
from podmirror.mirroring import Mirroring
from podmirror.optionkit import Command, add_options
from podmirror.options import (
    delivery_options,
    ports_option,
    reading_of,
    replay_file_options,
    source_of,
    source_options,
    take_mirroring,
)
from podmirror.packetoptions import filter_option, take_filter
from podmirror.portmap import PortPair, without_repeats
from podmirror.progress import Progress
from podmirror.session import SessionOptions

_OPTIONS = (
    source_options,
    ports_option,
    delivery_options,
    filter_options,
    filter_option,
    replay_file_options,
)


class Wish(NamedTuple):
    """What was asked for."""

    pairs: list[PortPair]
    origin: SessionOptions | Reading
    progress: Progress
    mirroring: Mirroring


def mirroring_options(command: Command) -> Command:
    """Add the options that `take_wish` takes."""
    return add_options(command, _OPTIONS)


def take_wish(pairs: Sequence[PortPair], values: dict[str, Any]) -> Wish:
    """Take the options' values.

    Raises:
        UsageError: They do not fit together.
    """
    wanted = without_repeats(pairs)
    settings = take_settings(values) | take_filter(values)
    progress, mirroring = take_mirroring(values, settings)
    origin = source_of(values, replace(reading_of(values, len(wanted)), settings=settings))
    return Wish(wanted, origin, progress, mirroring)
