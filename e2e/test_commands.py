"""The commands that only look, the configuration, the environment, completion, and the ways to log in."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kubernetes import client

from e2e.cluster import AGENT_IMAGE, E2ECluster, until
from e2e.running import refusal, run
from e2e.sessions import Podmirror
from e2e.users import User, make_user, write_kubeconfig


@pytest.fixture(scope="module")
def dev(k8s: E2ECluster, tmp_path_factory) -> User:
    user = make_user(k8s, "worker", tmp_path_factory.mktemp("worker"))
    user.apply(run(user.cluster, "rbac", "-n", k8s.namespace).stdout)
    return user


# What there is.


def test_targets_are_listed(k8s: E2ECluster) -> None:
    done = run(k8s, "ls", "-n", k8s.namespace, "-o", "json")

    listed = {each["target"]: each for each in json.loads(done.stdout)}
    assert (listed["deployment/app"]["ready"], listed["deployment/app"]["containers"]) == (1, ["app"])
    assert f"pod/{k8s.ready_pods('app')[0].metadata.name}" in listed


def test_targets_of_one_kind_are_listed_as_a_table(k8s: E2ECluster) -> None:
    done = run(k8s, "ls", "-n", k8s.namespace, "--type", "deployment")

    assert "deployment/app" in done.stdout
    assert "pod/" not in done.stdout


def test_agents_are_listed_with_their_end_and_others_are_left_alone(k8s: E2ECluster, local_port: int) -> None:
    arguments = ["mirror", *k8s.session_arguments("deployment/app"), "-p", f"8080:{local_port}"]
    with Podmirror(k8s, *arguments) as podmirror:
        podmirror.until_said("mirroring")

        listed = json.loads(run(k8s, "agents", "-n", k8s.namespace, "-o", "json").stdout)

        name = podmirror.err.split("injected ephemeral container ")[1].split()[0]
        running = {each["name"]: each for each in listed if each["state"] == "running"}
        assert running[name]["endsAtTheLatest"]
        assert podmirror.interrupt() == 0


def test_ones_own_agent_is_ended(k8s: E2ECluster, local_port: int, tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    arguments = ["mirror", *k8s.session_arguments("deployment/app"), "-p", f"8080:{local_port}"]
    with Podmirror(k8s, *arguments, environment=environment) as podmirror:
        podmirror.until_said("mirroring")
        name = podmirror.err.split("injected ephemeral container ")[1].split()[0]
        podmirror.process.kill()

        done = run(k8s, "agents", "-n", k8s.namespace, "--clean", **environment)

        assert f"{name}" in done.stderr
        assert "ended ephemeral" in done.stderr
    pod = k8s.ready_pods("app")[0].metadata.name

    def ended() -> bool:
        terminated = {each.name: each.state for each in k8s.agents(pod)}[name].terminated
        return terminated is not None and "agents --clean" in terminated.message

    until(ended, "the agent took leave", seconds=20)


def test_jobs_that_have_ended_are_removed(k8s: E2ECluster) -> None:
    batch = client.BatchV1Api(k8s.core.api_client)
    container = {
        "name": "agent",
        "image": k8s.app_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", "pass"],
    }
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    batch.create_namespaced_job(k8s.namespace, {"metadata": {"name": "podmirror-ended"}, "spec": spec})
    until(
        lambda: batch.read_namespaced_job("podmirror-ended", k8s.namespace).status.succeeded, "the Job ended"
    )

    done = run(k8s, "agents", "-n", k8s.namespace, "--clean")

    assert "podmirror-ended" in done.stdout
    assert f"removed job {k8s.namespace}/" in done.stderr
    until(lambda: not batch.list_namespaced_job(k8s.namespace).items, "the Job is gone")


# The configuration.


def session(k8s: E2ECluster, folder: Path, *arguments: str, **environment: str) -> "Podmirror":
    """Begin a session with the image from the configuration or the environment only."""
    return Podmirror(k8s, "mirror", "-n", k8s.namespace, *arguments, cwd=folder, environment=environment)


def test_a_session_with_options_from_the_file(k8s: E2ECluster, tmp_path: Path, local_port: int) -> None:
    (tmp_path / "podmirror.toml").write_text(
        f'agent-image = "{AGENT_IMAGE}"\nprogress = "plain"\n'
        f'[mirror]\ntarget = "deployment/app"\nport = ["8080:{local_port}"]\n'
        'agent-log-level = "debug"\nimage-pull-policy = "IfNotPresent"\n'
    )
    with session(k8s, tmp_path) as podmirror:
        podmirror.until_said("mirroring")
        assert f"port 8080 of the pod goes to local port {local_port}" in podmirror.err
        name = podmirror.err.split("injected ephemeral container ")[1].split()[0]
        assert podmirror.interrupt() == 0

    spec = next(each for each in containers(k8s) if each.name == name)
    assert spec.args[spec.args.index("--log-level") + 1] == "debug"
    assert spec.image_pull_policy == "IfNotPresent"
    pod = k8s.ready_pods("app")[0].metadata.name
    assert "DEBUG" in k8s.core.read_namespaced_pod_log(pod, k8s.namespace, container=name)


def containers(k8s: E2ECluster) -> list:
    return k8s.ready_pods("app")[0].spec.ephemeral_containers or []


def test_a_session_with_options_from_the_environment(
    k8s: E2ECluster, tmp_path: Path, local_port: int
) -> None:
    environment = {
        "PODMIRROR_TARGET": "deployment/app",
        "PODMIRROR_PORT": f"8080:{local_port}",
        "PODMIRROR_AGENT_IMAGE": AGENT_IMAGE,
        "PODMIRROR_PROGRESS": "plain",
    }
    with session(k8s, tmp_path, **environment) as podmirror:
        podmirror.until_said("mirroring")
        assert podmirror.interrupt() == 0


def test_an_image_that_is_never_pulled_is_refused_by_that_policy(k8s: E2ECluster, local_port: int) -> None:
    arguments = [
        *("mirror", *k8s.session_arguments("deployment/app"), "-p", f"8080:{local_port}"),
        *("--agent-image", "podmirror-agent:nope", "--image-pull-policy", "Never"),
    ]

    assert "is not present with pull policy of Never" in refusal(k8s, *arguments)


def test_every_value_is_shown_with_where_it_comes_from(k8s: E2ECluster, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('agent-image = "from-the-file"\n')

    done = run(
        k8s,
        *("--config", str(file), "config", "show", "mirror", "-o", "json"),
        PODMIRROR_NAMESPACE="from-the-environment",
    )

    options = json.loads(done.stdout)["commands"]["mirror"]
    assert options["agent-image"] == {"value": "from-the-file", "from": str(file)}
    assert options["namespace"] == {"value": "from-the-environment", "from": "PODMIRROR_NAMESPACE"}
    assert options["agent-ttl"]["from"] == "default"


# Completion.


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(k8s: E2ECluster, shell: str) -> None:
    assert "_PODMIRROR_COMPLETE" in run(k8s, "completion", shell).stdout


def test_commands_and_choices_are_completed(k8s: E2ECluster) -> None:
    asked = {"_PODMIRROR_COMPLETE": "bash_complete"}
    program = "import sys; sys.argv[0] = 'podmirror'; from podmirror.cli import main; main()"

    def completed(words: str, number: int) -> str:
        environment = {**k8s.environment(), **asked, "COMP_WORDS": words, "COMP_CWORD": str(number)}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert completed("podmirror do", 1).split() == ["plain,doctor"]
    assert "plain,job" in completed("podmirror rbac --agent j", 3)


# Ways to log in.


def test_credentials_from_a_program(dev: User, tmp_path: Path, local_port: int) -> None:
    content = yaml.safe_load(Path(dev.cluster.kubeconfig).read_text())
    token = content["users"][0]["user"]["token"]
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token},
    }
    program = tmp_path / "credential.py"
    program.write_text(f"print('''{json.dumps(credential)}''')")
    content["users"][0]["user"] = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(program)],
            "interactiveMode": "Never",
        }
    }
    mirror_with(dev, content, tmp_path, local_port)


def test_credentials_from_a_client_certificate(k8s: E2ECluster, tmp_path: Path, local_port: int) -> None:
    if k8s.is_sandbox:
        pytest.skip("the sandbox speaks plain HTTP")
    certificate, key = signed_certificate(k8s, "certified", tmp_path)
    user = User("certified", k8s, k8s)
    user.apply(run(k8s, "rbac", "-n", k8s.namespace, "--user", "certified").stdout)
    content = yaml.safe_load(Path(k8s.kubeconfig).read_text())
    content["users"][0]["user"] = {"client-certificate-data": certificate, "client-key": str(key)}

    mirror_with(user, content, tmp_path, local_port)


def signed_certificate(k8s: E2ECluster, name: str, folder: Path) -> tuple[str, Path]:
    """Let the cluster sign a client certificate; give it in base64, and the key's file."""
    key, request = folder / "client.key", folder / "client.csr"
    new = ("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}")
    subprocess.run(["openssl", *new, "-keyout", key, "-out", request], check=True, capture_output=True)
    authority = os.environ.get("PODMIRROR_E2E_CA")
    if authority:
        signed = (
            "x509",
            "-req",
            "-days",
            "1",
            "-in",
            request,
            "-CA",
            f"{authority}.crt",
            "-CAkey",
            f"{authority}.key",
        )
        done = subprocess.run(["openssl", *signed, "-set_serial", "1"], check=True, capture_output=True)
        return base64.b64encode(done.stdout).decode(), key
    api = client.CertificatesV1Api(k8s.core.api_client)
    asked = {
        "metadata": {"generateName": "podmirror-e2e-"},
        "spec": {
            "request": base64.b64encode(request.read_bytes()).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    }
    made = api.create_certificate_signing_request(asked)
    try:
        condition = {"type": "Approved", "status": "True", "reason": "e2e", "message": "e2e"}
        approval = {"metadata": {"name": made.metadata.name}, "status": {"conditions": [condition]}}
        api.patch_certificate_signing_request_approval(made.metadata.name, approval)

        def certificate() -> str | None:
            return api.read_certificate_signing_request(made.metadata.name).status.certificate

        until(certificate, "the cluster signs certificates; else give PODMIRROR_E2E_CA", seconds=20)
        return str(certificate()), key
    finally:
        api.delete_certificate_signing_request(made.metadata.name)


def mirror_with(user: User, content: dict, folder: Path, local_port: int) -> None:
    path = write_kubeconfig(content, folder)
    arguments = ["mirror", *user.admin.session_arguments("deployment/app"), "-p", f"8080:{local_port}"]
    with Podmirror(user.cluster, *arguments, environment={"KUBECONFIG": os.fspath(path)}) as podmirror:
        podmirror.until_said("mirroring")
        assert podmirror.interrupt() == 0
