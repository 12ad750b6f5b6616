"""Forwards to a server on loopback that speaks the legacy channel protocol."""

import asyncio
import struct

import aiohttp
import pytest
from aiohttp import web

from podmirror.kube import portforward as portforward_module
from podmirror.kube.cluster import WebSocketAccess
from podmirror.kube.portforward import SUBPROTOCOL, PortForward
from tests.layer.deadlines import PATIENCE_SECONDS

PORT = 61001
PREFACE = struct.pack("<H", PORT)
DATA, ERROR = b"\x00", b"\x01"


@pytest.fixture(autouse=True)
async def every_session_is_closed(monkeypatch):
    """Whatever becomes of a forward, it leaves no HTTP session."""
    made = []
    make = aiohttp.ClientSession

    def session(**options):
        made.append(make(**options))
        return made[-1]

    monkeypatch.setattr(portforward_module.aiohttp, "ClientSession", session)
    yield
    left = [each for each in made if not each.closed]
    for each in left:
        await each.close()
    assert not left


class AccessOnly:
    """Stands for a cluster of which only the way to a WebSocket is needed."""

    def __init__(self, server: str) -> None:
        self.server = server

    async def websocket_access(self, path: str) -> WebSocketAccess:
        return WebSocketAccess(self.server + path, {"authorization": "Bearer t0ken"}, None, None, None, {})


async def open_forward(server: str) -> PortForward:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await PortForward.open(AccessOnly(server), "shop", "web-1", PORT)


def speaking(talk, seen: list | None = None, **options):
    """Make a handler that opens both channels and then does what `talk` says."""

    async def answer(request):
        if seen is not None:
            seen.append(request)
        websocket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), max_msg_size=0, **options)
        await websocket.prepare(request)
        await websocket.send_bytes(DATA + PREFACE)
        await websocket.send_bytes(ERROR + PREFACE)
        await talk(websocket)
        return websocket

    return answer


async def receive(forward: PortForward) -> bytes:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await forward.receive()
