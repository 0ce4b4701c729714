"""Hand the bed's fixtures to the tests beside this."""

from apiserver_bed import api, core, kubectl, wait_for_fixture

__all__ = ["api", "core", "kubectl", "wait_for_fixture"]
