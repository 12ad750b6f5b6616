"""The ledger as Prometheus reads it, over HTTP."""

import asyncio
import re
import socket
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from podmirror.errors import NotStarted
from podmirror.forwarding import Outcome
from podmirror.ledger import LayerLedger
from podmirror.listenaddress import ListenAddress
from podmirror.metrics import MetricsServer, Stock
from tests.layer.ledgers import ledger_of

ANY_PORT = ListenAddress("127.0.0.1", 0)


async def get(server: MetricsServer, path: str = "/metrics", **headers: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://{server.address}{path}", headers=headers) as response,
    ):
        return response.status, response.headers["Content-Type"], await response.text()


def samples_of(text: str) -> dict[tuple[str, ...], float]:
    """Give each sample by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scrape(stock: Stock) -> dict[tuple[str, ...], float]:
    server = await MetricsServer.start(ANY_PORT, lambda: stock)
    status, content_type, text = await get(server)
    await server.close()
    assert status == 200
    assert content_type.startswith("text/plain")
    return samples_of(text)


async def test_what_the_layer_and_the_agent_count():
    settled = ledger_of(Outcome.WHOLE, Outcome.GAP)
    live = ledger_of(Outcome.WHOLE, Outcome.GAP, Outcome.OPEN)
    live.agent = {"kernel_drops": 3, "cpu_ns": 1_500_000_000, "waiting_bytes": 5, "last_drop_time": 10**18}
    samples = await scrape(Stock(settled, live, 1, connected=True))

    assert samples["podmirror_connections_total", "whole"] == 1
    assert samples["podmirror_connections_total", "gap"] == 1
    assert samples["podmirror_connections_total", "tls"] == 0
    assert ("podmirror_connections_total", "open") not in samples
    assert samples["podmirror_open_connections",] == 1
    assert samples["podmirror_lost_connections_total",] == 1
    assert samples["podmirror_delivered_bytes_total",] == 3 * 41
    assert samples["podmirror_not_delivered_bytes", "missed"] == 100
    assert samples["podmirror_agent_connected",] == 1
    assert samples["podmirror_agent_kernel_dropped_packets_total",] == 3
    assert samples["podmirror_agent_cpu_seconds_total",] == 1.5
    assert samples["podmirror_agent_waiting_bytes",] == 5
    assert samples["podmirror_agent_last_drop_timestamp_seconds",] == 1e9


async def test_before_anything_happened_every_metric_is_there():
    samples = await scrape(Stock(LayerLedger(), LayerLedger(), 0, connected=False))

    assert samples["podmirror_agent_connected",] == 0
    assert samples["podmirror_delivered_bytes_total",] == 0
    assert samples["podmirror_agent_shed_connections_total",] == 0


async def test_a_counter_never_falls():
    """A local process may turn out not to have taken what was written last."""
    stock = Stock(LayerLedger(), ledger_of(Outcome.WHOLE, Outcome.GAP), 0, connected=True)
    server = await MetricsServer.start(ANY_PORT, lambda: stock)
    await get(server)
    stock = Stock(LayerLedger(), ledger_of(Outcome.WHOLE), 0, connected=True)
    samples = samples_of((await get(server))[2])
    await server.close()

    assert samples["podmirror_delivered_bytes_total",] == 2 * 41
    assert samples["podmirror_lost_connections_total",] == 1


async def test_every_metric_has_help_and_a_unit_or_is_a_number_of_things():
    server = await MetricsServer.start(
        ANY_PORT, lambda: Stock(LayerLedger(), LayerLedger(), 0, connected=True)
    )
    _, _, text = await get(server)
    await server.close()

    for family in text_string_to_metric_families(text):
        assert family.name.startswith("podmirror_")
        assert family.documentation.endswith(".")


async def test_what_is_served_is_documented_and_the_other_way_round():
    server = await MetricsServer.start(
        ANY_PORT, lambda: Stock(LayerLedger(), LayerLedger(), 0, connected=True)
    )
    _, _, text = await get(server)
    await server.close()
    documented = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text()

    assert {name for name, *_ in samples_of(text)} == set(re.findall(r"`(podmirror_\w+)", documented))


async def test_scrapers_that_ask_for_openmetrics_get_it():
    server = await MetricsServer.start(
        ANY_PORT, lambda: Stock(LayerLedger(), LayerLedger(), 0, connected=True)
    )
    _, content_type, text = await get(server, Accept="application/openmetrics-text; version=1.0.0")
    await server.close()

    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


async def test_nothing_else_is_served():
    server = await MetricsServer.start(
        ANY_PORT, lambda: Stock(LayerLedger(), LayerLedger(), 0, connected=True)
    )
    assert (await get(server, "/"))[0] == 404
    await server.close()


async def test_an_address_in_use_is_refused_in_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = ListenAddress("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(NotStarted) as refusal:
            await MetricsServer.start(address, lambda: Stock(LayerLedger(), LayerLedger(), 0, connected=True))

    assert str(refusal.value) == (
        f"the metrics cannot be served at {address}: Address already in use; name another address"
    )


async def test_closed_it_serves_nobody_and_leaves_no_task():
    server = await MetricsServer.start(
        ANY_PORT, lambda: Stock(LayerLedger(), LayerLedger(), 0, connected=True)
    )
    await server.close()

    with pytest.raises(aiohttp.ClientConnectorError):
        await get(server)
    assert asyncio.all_tasks() == {asyncio.current_task()}
