"""Looking up the name of an API server."""

import asyncio
import socket
import threading

import pytest
from aiohttp import web

from podmirror.errors import NotStarted
from podmirror.kube.lookup import Lookup
from podmirror.kube.portforward import PortForward
from tests.layer.deadlines import PATIENCE_SECONDS, until
from tests.layer.kube.apiserver import serving
from tests.layer.kube.forwards import (
    PORT,
    AccessOnly,
    every_session_is_closed,  # noqa: F401  # an autouse fixture
    open_forward,
)

REAL = socket.getaddrinfo


def answering(*addresses: str):
    """Stand for `getaddrinfo` with these addresses, and pass on what is an address already."""

    def look_up(host, port, *more, **options):
        if host != "k8s.test":
            return REAL(host, port, *more, **options)
        options["flags"] = socket.AI_NUMERICHOST
        return [each for address in addresses for each in REAL(address, port, *more, **options)]

    return look_up


async def test_a_server_is_reached_by_its_name(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", answering("127.0.0.1"))
    asked = []

    async def answer(request):
        asked.append(request.host)
        return web.Response(status=503)

    async with serving(answer) as server:
        with pytest.raises(Exception, match="503"):
            await open_forward(server.replace("127.0.0.1", "k8s.test"))
    assert asked[0].startswith("k8s.test:")


async def test_every_address_is_given(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", answering("10.0.0.1", "fd00::1", "fe80::1%1"))
    found = await Lookup().resolve("k8s.test", 6443, socket.AF_UNSPEC)

    assert [each["host"] for each in found] == ["10.0.0.1", "fd00::1", "fe80::1%1"]
    assert {(each["hostname"], each["port"]) for each in found} == {("k8s.test", 6443)}


async def test_a_name_that_is_not_known_says_so(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(
        NotStarted, match=r"port-forward to pod shop/web-1 failed: .*Name or service not known"
    ):
        await open_forward("http://k8s.test:6443")


async def test_nobody_waits_for_a_look_up_that_was_given_up(monkeypatch):
    asked, answered = threading.Event(), threading.Event()
    waited = []

    def slow(*_, **__):
        asked.set()
        waited.append(not answered.wait(PATIENCE_SECONDS))
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    opening = asyncio.create_task(PortForward.open(AccessOnly("http://k8s.test:6443"), "shop", "web-1", PORT))
    await until(asked.is_set)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()  # as at Python's end

    assert not waited
    answered.set()
