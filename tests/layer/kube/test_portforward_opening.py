"""A forward that does not open: it is refused, unanswered or cancelled."""

import asyncio

import pytest
from aiohttp import web

from podmirror.errors import NotStarted
from podmirror.kube import portforward as portforward_module
from podmirror.kube.cluster import Refusal
from podmirror.kube.portforward import PortForward
from tests.layer.deadlines import PATIENCE_SECONDS
from tests.layer.kube.apiserver import serving, status
from tests.layer.kube.forwards import (
    PORT,
    AccessOnly,
    every_session_is_closed,  # noqa: F401  # an autouse fixture
    open_forward,
)

# A forward that does not open.


async def test_a_refused_handshake_gives_the_servers_words():
    async def answer(_):
        return status(
            403, "Forbidden", 'pods "web-1" is forbidden: User "me" cannot create "pods/portforward"'
        )

    async with serving(answer) as server:
        with pytest.raises(Refusal) as refusal:
            await open_forward(server)

    assert (refusal.value.status, refusal.value.reason) == (403, "Forbidden")
    assert refusal.value.message == 'pods "web-1" is forbidden: User "me" cannot create "pods/portforward"'


@pytest.mark.parametrize(
    "body", ["<html>no</html>", "", "[]", '{"kind": "Status"}', '{"kind": "Status", "message": "why"}']
)
async def test_a_refused_handshake_with_another_body(body):
    async def answer(_):
        return web.Response(status=503, text=body)

    async with serving(answer) as server:
        with pytest.raises(Refusal) as refusal:
            await open_forward(server)

    assert refusal.value.status == 503
    assert refusal.value.message == ("why" if "why" in body else "HTTP 503 Service Unavailable")


async def test_a_refusal_that_is_another_the_second_time():
    answers = [web.Response(status=418), status(403, "Forbidden", "no")]

    async def answer(_):
        return answers.pop(0)

    async with serving(answer) as server:
        with pytest.raises(Refusal) as refusal:
            await open_forward(server)

    assert (refusal.value.status, refusal.value.message) == (418, "HTTP 418 I'm a Teapot")


async def test_a_refusal_of_a_code_without_a_name():
    async def answer(_):
        return web.Response(status=499, reason="odd")

    async with serving(answer) as server:
        with pytest.raises(Refusal) as refusal:
            await open_forward(server)

    assert (refusal.value.status, refusal.value.message) == (499, "HTTP 499")


async def test_a_server_that_is_not_there():
    with pytest.raises(NotStarted, match=r"port-forward to pod shop/web-1 failed: .*127.0.0.1:1"):
        await open_forward("http://127.0.0.1:1")


async def test_a_server_that_does_not_answer_the_handshake_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(portforward_module, "OPEN_SECONDS", 0.1)
    leave = asyncio.Event()

    async def answer(_):
        await leave.wait()
        return web.Response()

    async with serving(answer) as server:
        try:
            with pytest.raises(NotStarted, match="port-forward to pod shop/web-1 failed"):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await PortForward.open(AccessOnly(server), "shop", "web-1", PORT)
        finally:
            leave.set()


async def test_opening_can_be_cancelled():
    asked, leave = asyncio.Event(), asyncio.Event()

    async def answer(_):
        asked.set()
        await leave.wait()
        return web.Response()

    async with serving(answer) as server:
        opening = asyncio.create_task(open_forward(server))
        await asked.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        leave.set()


async def test_asking_for_the_servers_words_can_be_cancelled():
    asked, leave = asyncio.Event(), asyncio.Event()

    async def answer(request):
        if "Upgrade" in request.headers:
            return status(403, "Forbidden", "no")
        asked.set()
        await leave.wait()
        return web.Response()

    async with serving(answer) as server:
        opening = asyncio.create_task(open_forward(server))
        await asked.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        leave.set()
