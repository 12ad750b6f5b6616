from __future__ import annotations

import sys

import pytest

from podmirror_sandbox.cluster.images import Image, PullFailure, command_line, find_image, full_reference


def test_agent_image_of_this_version() -> None:
    found = find_image("podmirror-agent:1.2", "IfNotPresent", "1.2")
    assert found == Image((sys.executable, "-m", "podmirror_agent"))


@pytest.mark.parametrize(
    "reference", ["sandbox/host", "sandbox/host:1", "python:3.12-slim", "docker.io/library/py-app:1"]
)
def test_host_images(reference: str) -> None:
    assert find_image(reference, "Always", "1.2") == Image(())


@pytest.mark.parametrize(
    "reference", ["podmirror-agent:1.3", "podmirror-agent", "nginx", "ghcr.io/a/b@sha256:" + "0" * 64]
)
def test_other_images_are_not_found(reference: str) -> None:
    found = find_image(reference, "IfNotPresent", "1.2")
    assert isinstance(found, PullFailure)
    assert (found.reason, found.backoff_reason) == ("ErrImagePull", "ImagePullBackOff")
    assert f'failed to pull and unpack image "{full_reference(reference)}"' in found.message
    assert found.backoff_message.startswith(f'Back-off pulling image "{reference}"')


def test_never_pulled() -> None:
    found = find_image("nginx:1", "Never", "1.2")
    message = 'Container image "nginx:1" is not present with pull policy of Never'
    assert found == PullFailure("ErrImageNeverPull", message)


@pytest.mark.parametrize("reference", ["Nginx", "a b", "a:b:c", "a//b", "-a"])
def test_invalid_names(reference: str) -> None:
    found = find_image(reference, "Always", "1.2")
    assert isinstance(found, PullFailure)
    assert found.reason == "InvalidImageName"
    assert "invalid reference format" in found.message


def test_full_reference() -> None:
    assert full_reference("a") == "docker.io/library/a:latest"
    assert full_reference("a/b:1") == "docker.io/a/b:1"
    assert full_reference("localhost:5000/b") == "localhost:5000/b:latest"


def test_command_replaces_the_entry_point_and_python_is_ours() -> None:
    image = Image(("agent",))
    assert command_line(image, [], ["-x"]) == ["agent", "-x"]
    assert command_line(image, ["python3", "-c"], ["1"]) == [sys.executable, "-c", "1"]
    assert command_line(Image(()), [], []) == []
