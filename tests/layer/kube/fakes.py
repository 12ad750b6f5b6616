"""A cluster that answers what a test tells it to, without an API server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

from podmirror.kube.cluster import Refusal


class FakeCluster:
    """Answers each call by the name of the client's method: with a value, an exception, or what a function gives."""

    def __init__(self, **answers: Any) -> None:
        self.namespace = "shop"
        self.server = "https://k8s"
        self.context = "fake"
        self.answers = {"read_node": Refusal(403, "Forbidden", "nodes are not for you"), **answers}
        self.calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = []
        self.core = self.apps = self.batch = self.custom = _Names()
        self.changes: list[Any] = []
        """What a watch gives: (type, pod), an exception, None for the end of one watch; then it waits for ever."""

    async def call(self, method: str, *arguments: object, **options: object) -> Any:
        self.calls.append((method, arguments, options))
        answer = self.answers[method]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Callable):
            answer = answer(*arguments, **options)
        if isinstance(answer, BaseException):
            raise answer
        await asyncio.sleep(0)
        return answer

    def watch_pod(self, name: str, namespace: str) -> AsyncIterator[tuple[str, Any]]:
        return self._watch(name, namespace)

    def watch_pods(self, namespace: str, **selectors: str) -> AsyncIterator[tuple[str, Any]]:
        return self._watch(namespace, **selectors)

    async def _watch(self, *arguments: object, **options: object) -> AsyncIterator[tuple[str, Any]]:
        self.calls.append(("watch", arguments, options))
        while self.changes:
            await asyncio.sleep(0)
            change = self.changes.pop(0)
            if change is None:
                return
            if isinstance(change, BaseException):
                raise change
            yield change
        await asyncio.Event().wait()

    def called(self, method: str) -> list[tuple[object, ...]]:
        return [arguments for name, arguments, _ in self.calls if name == method]


class _Names:
    def __getattr__(self, name: str) -> str:
        return name


def items(*each: object) -> SimpleNamespace:
    return SimpleNamespace(items=list(each))
