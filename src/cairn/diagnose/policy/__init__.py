"""What policies do, said before they do it: traces, plans, replays, suggestions.

    World (a cluster's objects, read), Engine (compile.policy)  ->  verdicts in words

Not here    Reading files and clusters, tables (cli).
"""
