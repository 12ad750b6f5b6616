"""Pods as real processes: their life, their containers, their surroundings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.sandbox.conftest import Api

pytestmark = pytest.mark.namespaces


def ephemeral_state(pod: dict[str, Any], name: str) -> dict[str, Any]:
    statuses = pod["status"].get("ephemeralContainerStatuses", [])
    return next(dict(entry["state"]) for entry in statuses if entry["name"] == name)


async def ended(api: Api, pod: str, name: str) -> dict[str, Any]:
    item = await api.until(f"pods/{pod}", lambda pod: ephemeral_state(pod, name).get("terminated"))
    return dict(ephemeral_state(item, name)["terminated"])


async def test_a_container_has_namespaces_capabilities_and_names_of_its_own(api: Api) -> None:
    script = (
        "hostname; echo $$$$; ls /sys/class/net; grep CapBnd /proc/self/status; echo $HOSTNAME; echo done"
    )
    await api.create_pod("surroundings", "sh", "-c", script, restartPolicy="Never")
    pod = await api.until("pods/surroundings", lambda pod: pod["status"]["phase"] == "Succeeded")
    words = (await api.log("surroundings")).split()
    assert words == ["surroundings", "1", "eth0", "lo", "CapBnd:", "00000000a80425fb", "surroundings", "done"]
    (status,) = pod["status"]["containerStatuses"]
    assert status["containerID"].startswith("containerd://")
    assert len(status["containerID"]) == len("containerd://") + 64
    assert status["state"]["terminated"]["reason"] == "Completed"
    assert pod["status"]["podIPs"][0]["ip"] == pod["status"]["podIP"]
    await api.delete_pod("surroundings")


async def test_pods_reach_each_other_over_ipv4_and_ipv6(api: Api) -> None:
    await api.create_pod("server", "python3", "-m", "http.server", "--bind", "::", "8000")
    server = await api.until_running("server")
    addresses = [entry["ip"] for entry in server["status"]["podIPs"]]
    urls = [f"http://[{ip}]:8000/" if ":" in ip else f"http://{ip}:8000/" for ip in addresses]
    script = (
        "import sys, time, urllib.request\n"
        "for url in sys.argv[1:]:\n"
        "    while True:\n"
        "        try: print(urllib.request.urlopen(url, timeout=2).status); break\n"
        "        except OSError: time.sleep(0.05)\n"
    )
    await api.create_pod("caller", "python3", "-c", script, *urls, restartPolicy="Never")
    await api.until("pods/caller", lambda pod: pod["status"]["phase"] == "Succeeded")
    assert (await api.log("caller")).split() == ["200"] * len(urls)
    await api.delete_pod("caller")
    await api.delete_pod("server")


async def test_an_ephemeral_container_runs_once(api: Api) -> None:
    await api.create_pod("target", "sleep", "1000")
    await api.until_running("target")
    command = ["sh", "-c", "echo hello; echo because > /dev/termination-log; exit 3"]
    status, _ = await api.add_ephemeral("target", name="one", image="sandbox/host", command=command)
    assert status == 200
    state = await ended(api, "target", "one")
    assert (state["exitCode"], state["reason"], state["message"]) == (3, "Error", "because\n")
    assert await api.log("target", container="one") == "hello\n"
    assert (await api.get("pods/target"))["status"]["phase"] == "Running"

    status, refusal = await api.add_ephemeral("target", name="one", image="sandbox/host:2")
    assert status == 422
    assert 'existing ephemeral containers "one" may not be changed' in refusal["message"]
    patch = {"spec": {"ephemeralContainers": [{"name": "two", "image": "sandbox/host"}]}}
    kind = "application/merge-patch+json"
    status, refusal = await api.call("PATCH", "pods/target/ephemeralcontainers", patch, kind)
    assert 'existing ephemeral containers "one" may not be removed' in refusal["message"]

    fallback = {
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "command": ["sh", "-c", "echo log; kill -9 $$$$; exit 5"],
    }
    await api.add_ephemeral("target", name="two", image="sandbox/host", **fallback)
    state = await ended(api, "target", "two")
    # Process 1 of a PID namespace is not killed by a signal from inside of it: the shell goes on.
    assert (state["exitCode"], state["message"]) == (5, "log\n")
    await api.delete_pod("target")


@pytest.mark.parametrize(
    ("image", "policy", "reason", "text"),
    [
        ("nope:1", "IfNotPresent", "ImagePullBackOff", 'Back-off pulling image "nope:1"'),
        ("nope:1", "Never", "ErrImageNeverPull", "is not present with pull policy of Never"),
        ("NOPE", "Always", "InvalidImageName", "repository name must be lowercase"),
    ],
)
async def test_images_that_cannot_be_had(api: Api, image: str, policy: str, reason: str, text: str) -> None:
    name = reason.lower()
    await api.create_pod(name, "sleep", "1000")
    await api.until_running(name)
    await api.add_ephemeral(name, name="e", image=image, imagePullPolicy=policy)
    pod = await api.until(
        f"pods/{name}", lambda pod: ephemeral_state(pod, "e")["waiting"]["reason"] == reason
    )
    assert text in ephemeral_state(pod, "e")["waiting"]["message"]
    assert pod["status"]["phase"] == "Running"
    await api.delete_pod(name)


async def test_security_context_is_honoured(api: Api) -> None:
    await api.create_pod(
        "secured", "sleep", "1000", securityContext={"runAsNonRoot": True, "runAsUser": 1000}
    )
    await api.until_running("secured")
    context: dict[str, Any] = {
        "runAsUser": 0,
        "runAsNonRoot": False,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]},
    }
    script = "id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status"
    own = {"command": ["sh", "-c", script], "securityContext": context}
    await api.add_ephemeral("secured", name="a", image="sandbox/host", **own)
    await ended(api, "secured", "a")
    words = (await api.log("secured", container="a")).split()
    assert words == ["0", "CapEff:", "0000000000002000", "NoNewPrivs:", "1"]
    await api.add_ephemeral(
        "secured", name="b", image="x", securityContext={"runAsNonRoot": True, "runAsUser": 0}
    )
    # The kubelet asks for the image first, so an image that is there is needed to come this far.
    await api.add_ephemeral("secured", name="c", image="sandbox/host", securityContext={"runAsUser": 0})
    pod = await api.until(
        "pods/secured", lambda pod: ephemeral_state(pod, "c").get("waiting", {}).get("message")
    )
    waiting = ephemeral_state(pod, "c")["waiting"]
    assert waiting["reason"] == "CreateContainerConfigError"
    assert "container's runAsUser breaks non-root policy" in waiting["message"]
    await api.delete_pod("secured")


async def test_a_command_that_is_not_there_is_a_start_error(api: Api) -> None:
    await api.create_pod("misspelt", "no-such-program", restartPolicy="Never")
    pod = await api.until("pods/misspelt", lambda pod: pod["status"]["phase"] == "Failed")
    state = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (128, "StartError")
    assert 'exec: "no-such-program": executable file not found in $PATH' in state["message"]
    await api.delete_pod("misspelt")


async def test_a_crashing_container_is_restarted_with_back_off(api: Api) -> None:
    await api.create_pod("crashing", "sh", "-c", "exit 7")

    def crashed_twice(pod: dict[str, Any]) -> bool:
        status = pod["status"]["containerStatuses"][0]
        waiting = status["state"].get("waiting", {})
        return bool(waiting.get("reason") == "CrashLoopBackOff" and status["restartCount"] == 1)

    pod = await api.until("pods/crashing", crashed_twice)
    status = pod["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 7
    assert pod["status"]["phase"] == "Running"
    ready = {entry["type"]: entry["status"] for entry in pod["status"]["conditions"]}["Ready"]
    assert ready == "False"
    await api.delete_pod("crashing")


async def test_init_containers_run_before_the_others(api: Api) -> None:
    init = [{"name": "init", "image": "sandbox/host", "command": ["sh", "-c", "echo first"]}]
    await api.create_pod("initialized", "sleep", "1000", initContainers=init)
    pod = await api.until_running("initialized")
    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert await api.log("initialized", container="init") == "first\n"
    await api.delete_pod("initialized")


async def test_deletion_asks_first_and_kills_then(api: Api) -> None:
    loop = asyncio.get_running_loop()
    polite = "trap 'exit 0' TERM; echo trapped; while :; do sleep 0.02; done"
    await api.create_pod("polite", "sh", "-c", polite, terminationGracePeriodSeconds=30)
    # As process 1 of its namespace, sleep does not notice SIGTERM.
    await api.create_pod("stubborn", "sleep", "1000", terminationGracePeriodSeconds=1)
    for name in ("polite", "stubborn"):
        await api.until_running(name)
    async with asyncio.timeout(20):
        while not await api.log("polite"):  # noqa: ASYNC110  # the pod says it in its log
            await asyncio.sleep(0.05)
    start = loop.time()
    status, marked = await api.call("DELETE", "pods/polite")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    status, _ = await api.add_ephemeral("polite", name="late", image="sandbox/host", command=["true"])
    # Accepted, as by a real server, and never started.
    assert status in (200, 404)
    await api.until_gone("pods/polite")
    assert loop.time() - start < 20
    start = loop.time()
    await api.call("DELETE", "pods/stubborn")
    await api.until_gone("pods/stubborn")
    assert loop.time() - start > 0.99


async def test_forced_deletion_is_at_once(api: Api) -> None:
    await api.create_pod("forced", "sleep", "1000", terminationGracePeriodSeconds=30)
    await api.until_running("forced")
    await api.call("DELETE", "pods/forced")
    status, _ = await api.call("DELETE", "pods/forced", {"gracePeriodSeconds": 0})
    assert status == 200
    assert (await api.call("GET", "pods/forced"))[0] == 404


async def test_a_finished_pod_ends_its_ephemeral_containers(api: Api) -> None:
    until_called = "import socket; socket.create_server(('127.0.0.1', 7000)).accept()"
    call = (
        "import socket, time\n"
        "while True:\n"
        "    try: socket.create_connection(('127.0.0.1', 7000)); break\n"
        "    except OSError: time.sleep(0.05)\n"
        "time.sleep(1000)"
    )
    await api.create_pod("short", "python3", "-c", until_called, restartPolicy="Never")
    await api.until_running("short")
    await api.add_ephemeral("short", name="e", image="sandbox/host", command=["python3", "-c", call])
    state = await ended(api, "short", "e")
    assert (state["exitCode"], state["signal"]) == (137, 9)
    assert (await api.get("pods/short"))["status"]["phase"] == "Succeeded"
    await api.delete_pod("short")


async def test_logs_are_tailed_and_followed(api: Api) -> None:
    script = "for i in 1 2 3; do echo $i; done; sleep 0.5; echo 4"
    await api.create_pod("talking", "sh", "-c", script, restartPolicy="Never")
    await api.until_running("talking")
    assert await api.log("talking", follow="true") == "1\n2\n3\n4\n"
    assert await api.log("talking", tailLines="2") == "3\n4\n"
    status, refusal = await api.call("GET", "pods/talking/log", container="other")
    assert (status, refusal["message"]) == (400, "container other is not valid for pod talking")
    await api.delete_pod("talking")


async def test_a_deployment_heals_itself(api: Api) -> None:
    labels = {"app": "healing"}
    container = {"name": "c", "image": "sandbox/host", "command": ["sleep", "1000"]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    path = "/apis/apps/v1/namespaces/default/deployments"
    await api.call("POST", path, {"metadata": {"name": "healing"}, "spec": spec})
    seen: list[str] = []
    async with asyncio.timeout(20):
        async for event in api.watch("pods", labelSelector="app=healing"):
            name = event["object"]["metadata"]["name"]
            running = event["object"]["status"]["phase"] == "Running"
            if event["type"] != "DELETED" and running and name not in seen:
                seen.append(name)
                if len(seen) == 2:
                    break
                await api.delete_pod(name)
    await api.call("DELETE", f"{path}/healing")
    await api.delete_pod(seen[1])


async def test_a_job_runs_to_its_end(api: Api) -> None:
    container = {"name": "c", "image": "sandbox/host", "command": ["sh", "-c", "echo worked"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    path = "/apis/batch/v1/namespaces/default/jobs"
    await api.call(
        "POST", path, {"metadata": {"name": "work"}, "spec": {"backoffLimit": 0, "template": template}}
    )
    async with asyncio.timeout(20):
        async for event in api.watch("pods", labelSelector="job-name=work"):
            if event["object"]["status"]["phase"] == "Succeeded":
                break
    (pod,) = (await api.get("pods", labelSelector="job-name=work"))["items"]
    assert await api.log(pod["metadata"]["name"]) == "worked\n"
    job = await api.get(f"{path}/work")
    assert job["status"]["succeeded"] == 1
    await api.call("DELETE", f"{path}/work", propagationPolicy="Background")
    await api.until_gone(f"pods/{pod['metadata']['name']}")


async def test_services_are_found_by_name(api: Api) -> None:
    labels = {"app": "named"}
    container = {"name": "c", "image": "sandbox/host", "command": ["sleep", "1000"]}
    pod = {"metadata": {"name": "named", "labels": labels}, "spec": {"containers": [container]}}
    await api.call("POST", "pods", pod)
    await api.call("POST", "services", {"metadata": {"name": "svc"}, "spec": {"selector": labels}})
    named = await api.until_running("named")
    await api.create_pod(
        "asking", "getent", "ahostsv4", "svc.default.svc.cluster.local", restartPolicy="Never"
    )
    await api.until("pods/asking", lambda pod: pod["status"]["phase"] == "Succeeded")
    assert (await api.log("asking")).split()[0] == named["status"]["podIP"]
    for name in ("asking", "named"):
        await api.delete_pod(name)
    await api.call("DELETE", "services/svc")
