"""What the API server says that this user may do, and who it says that this user is."""

import asyncio
from collections.abc import Iterable

from podmirror.errors import NotStarted
from podmirror.kube.cluster import Cluster, Refusal
from podmirror.kube.permissions import Access
from podmirror.kube.rolemanifests import Subject

_SERVICE_ACCOUNT = "system:serviceaccount:"
"""What the user names of service accounts begin with; namespace and name follow."""


async def denied(cluster: Cluster, accesses: Iterable[Access]) -> list[Access]:
    """Give those of the accesses that the user does not have.

    Raises:
        NotStarted: The API server cannot be reached, or does not answer such questions.
    """
    asked = list(dict.fromkeys(accesses))
    answers = await asyncio.gather(*(_is_allowed(cluster, each) for each in asked))
    return [access for access, allowed in zip(asked, answers, strict=True) if not allowed]


async def whoami(cluster: Cluster) -> Subject:
    """Give the user that the API server takes this one for.

    Raises:
        NotStarted: The API server cannot be reached, or does not say.
    """
    try:
        review = await cluster.call(cluster.authentication.create_self_subject_review, {})
    except Refusal as refusal:
        raise NotStarted(
            f"the API server of context {cluster.context!r} does not say who you are: {refusal.message}; "
            "name somebody with --user, --group or --serviceaccount"
        ) from refusal
    name = str(review.status.user_info.username)
    if name.startswith(_SERVICE_ACCOUNT):
        namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
        return Subject("ServiceAccount", account, namespace)
    return Subject("User", name)


async def _is_allowed(cluster: Cluster, access: Access) -> bool:
    resource, _, subresource = access.resource.partition("/")
    attributes = {
        "namespace": access.namespace,
        "group": access.group,
        "resource": resource,
        "subresource": subresource,
        "verb": access.verb,
    }
    try:
        review = await cluster.call(
            cluster.authorization.create_self_subject_access_review,
            {"spec": {"resourceAttributes": attributes}},
        )
    except Refusal as refusal:
        raise NotStarted(
            f"the API server of context {cluster.context!r} does not say what you may do: {refusal.message}; "
            "check the credentials of that context"
        ) from refusal
    return bool(review.status.allowed)
