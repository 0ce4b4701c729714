"""`cairn proxy`: keeps Envoy running beside the agent.

bootstrap.json  ->  a process of Envoy, from the first HTTP rule on
"""
