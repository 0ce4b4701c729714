"""Whether a backend serves: how it is asked, and what its answers come to.

annotation, results and time  ->  checks to begin, verdicts
"""
