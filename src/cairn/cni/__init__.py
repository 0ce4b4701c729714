"""The CNI plugin: hands the container runtime's calls to the agent.

CNI call  ->  agent  ->  CNI result
"""
