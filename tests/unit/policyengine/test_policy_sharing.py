"""Equal parts of policies are one object, and the policies stay what they were."""

from typing import Any

from hypothesis import given
from policy_world import policies

from cairn.kube.policy.read import read_policies
from cairn.kube.policy.rule import LabelPeer, Policy
from cairn.kube.policy.sharing import shared_policy


@given(policies(names=True))
def test_a_policy_stays_what_it_was(policy: Policy) -> None:
    assert shared_policy(policy) == policy


def test_policies_share_their_parts() -> None:
    def raw(name: str) -> dict[str, Any]:
        peer = {"podSelector": {"matchLabels": {"app": "".join(["we", "b"])}}}
        return {
            "kind": "NetworkPolicy",
            "metadata": {"namespace": "shop", "name": name},
            "spec": {"podSelector": {}, "ingress": [{"from": [peer], "ports": [{"port": 80}]}]},
        }

    (one,), (two,) = read_policies(raw("one")), read_policies(raw("two"))
    assert one.ref != two.ref
    assert one.subject is two.subject
    assert one.isolates is two.isolates
    mine, theirs = one.rules[0], two.rules[0]
    assert mine.peers is theirs.peers
    assert isinstance(mine.peers[0], LabelPeer)
    assert mine.matches is theirs.matches
