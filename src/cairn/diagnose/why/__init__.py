"""Why a client cannot reach a target: the whole way walked, each step with its evidence.

Question, Facts  ->  Walk(steps, the first cause, what mends it)
"""
