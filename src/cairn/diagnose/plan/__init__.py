"""What an apply would change, found by compiling the cluster twice.

    World, World with the files  ->  addresses, announcements, verdicts, proxies, what is invalid

Not here    Verdicts of policies (diagnose.policy.plan).
"""
