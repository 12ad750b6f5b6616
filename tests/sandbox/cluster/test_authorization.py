import pytest

from podmirror_sandbox.cluster.apierrors import ApiError
from podmirror_sandbox.cluster.authorization import ADMIN, Attributes, check, is_allowed
from podmirror_sandbox.cluster.resources import ROLE_BINDINGS, ROLES
from podmirror_sandbox.cluster.store import Store

GET_POD = Attributes("get", "", "pods", "", "shop", "web")


def store_with(rule: dict, subject: dict, *, kind: str = "Role") -> Store:
    store = Store()
    metadata = {"name": "r", "namespace": "shop"}
    store.put(ROLES, {"metadata": metadata, "rules": [rule]})
    binding = {"metadata": metadata, "roleRef": {"kind": kind, "name": "r"}, "subjects": [subject]}
    store.put(ROLE_BINDINGS, binding)
    return store


DEV = {"kind": "User", "name": "dev"}
READ = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}


def test_the_sandboxs_own_user_may_do_everything():
    assert is_allowed(Store(), ADMIN, GET_POD)


def test_others_may_do_what_a_role_says_and_no_more():
    store = store_with(READ, DEV)

    assert is_allowed(store, "dev", GET_POD)
    assert not is_allowed(store, "ops", GET_POD)
    for other in (
        Attributes("list", "", "pods", "", "shop"),
        Attributes("get", "", "pods", "log", "shop", "web"),
        Attributes("get", "", "pods", "", "bank", "web"),
        Attributes("get", "apps", "pods", "", "shop", "web"),
        Attributes("get", "", "nodes", "", "", "n"),
    ):
        assert not is_allowed(store, "dev", other)


@pytest.mark.parametrize(
    ("subject", "user"),
    [
        ({"kind": "Group", "name": "system:authenticated"}, "anybody"),
        (
            {"kind": "ServiceAccount", "name": "ci", "namespace": "build"},
            "system:serviceaccount:build:ci",
        ),
    ],
)
def test_groups_and_service_accounts(subject, user):
    assert is_allowed(store_with(READ, subject), user, GET_POD)


def test_a_rule_may_be_for_named_objects():
    store = store_with({**READ, "resourceNames": ["web"]}, DEV)

    assert is_allowed(store, "dev", GET_POD)
    assert not is_allowed(store, "dev", Attributes("get", "", "pods", "", "shop", "db"))


def test_stars_stand_for_everything():
    store = store_with({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, DEV)

    assert is_allowed(store, "dev", Attributes("create", "batch", "jobs", "", "shop"))


def test_cluster_roles_are_not_known():
    assert not is_allowed(store_with(READ, DEV, kind="ClusterRole"), "dev", GET_POD)


def test_everybody_may_ask_who_they_are_and_what_they_may():
    assert is_allowed(
        Store(), "dev", Attributes("create", "authorization.k8s.io", "selfsubjectaccessreviews")
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            Attributes("create", "", "pods", "portforward", "shop", "web"),
            'pods "web" is forbidden: User "dev" cannot create resource "pods/portforward" in API group "" '
            'in the namespace "shop"',
        ),
        (
            Attributes("list", "batch", "jobs", "", "shop"),
            'jobs.batch is forbidden: User "dev" cannot list resource "jobs" in API group "batch" '
            'in the namespace "shop"',
        ),
        (
            Attributes("get", "", "nodes", "", "", "n"),
            'nodes "n" is forbidden: User "dev" cannot get resource "nodes" in API group "" at the cluster scope',
        ),
    ],
)
def test_refusals_are_worded_as_the_real_servers(asked, message):
    with pytest.raises(ApiError) as refused:
        check(Store(), "dev", asked)

    assert (refused.value.code, refused.value.message) == (403, message)
