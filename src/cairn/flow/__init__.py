"""What was seen of a connection: who, whom, what became of it.

one line of JSON  <->  Flow
"""
