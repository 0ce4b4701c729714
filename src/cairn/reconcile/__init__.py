"""The one difference between what is and what should be.

    plan(actual, desired)  ->  Plan(create, update, delete)

Invariants  plan(x, x) is empty; applying plan(a, d) to a gives d.
"""

from cairn.reconcile.plan import Plan, Update, plan

__all__ = ["Plan", "Update", "plan"]
