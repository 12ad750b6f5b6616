from types import SimpleNamespace as Some

from podmirror.compare.ask import ask_of, capabilities_of


def container(name="agent", *, add=None, drop=None, privileged=None):
    capabilities = Some(add=add, drop=drop) if add or drop else None
    return Some(name=name, security_context=Some(capabilities=capabilities, privileged=privileged))


def pod(*, containers=(), ephemeral=(), host_pid=None, host_network=None):
    spec = Some(
        containers=list(containers),
        ephemeral_containers=list(ephemeral),
        host_pid=host_pid,
        host_network=host_network,
        host_ipc=None,
    )
    return Some(spec=spec)


def test_an_ephemeral_agent_that_adds_a_capability_takes_the_level_privileged():
    asked = ask_of(
        pod(ephemeral=[container(add=["NET_RAW"], drop=["ALL"])]), "agent", {"CapBnd": "2000", "CapEff": "0"}
    )

    assert (asked.added, asked.dropped, asked.level) == (("NET_RAW",), ("ALL",), "privileged")
    assert asked.held == "given NET_RAW, holds none"
    assert asked.may_change_rules is False


def test_one_with_the_default_set_is_admitted_by_baseline():
    asked = ask_of(pod(ephemeral=[container()]), "agent", {})

    assert asked.level == "baseline"
    assert asked.may_change_rules is None
    assert "unknown" in asked.held


def test_the_targets_own_host_namespaces_are_nothing_that_the_agent_asks_for():
    assert ask_of(pod(ephemeral=[container()], host_network=True), "agent", {}).host_namespaces == ()


def test_a_jobs_agent_asks_for_the_hosts_processes():
    asked = ask_of(pod(containers=[container(add=["SYS_ADMIN"], drop=["ALL"])], host_pid=True), "agent", {})

    assert asked.host_namespaces == ("hostPID",)
    assert asked.level == "privileged"


def test_capabilities_by_their_mask():
    assert capabilities_of("1") == "CHOWN"
    assert capabilities_of(f"{1 << 21 | 1 << 19:x}") == "SYS_PTRACE, SYS_ADMIN"
    assert capabilities_of("1ffffffffff") == "all"
    assert capabilities_of("000001ffffffffff") == "all"
