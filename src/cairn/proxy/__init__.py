"""`cairn proxy`: keeps Envoy running beside the agent, from the first HTTP rule on."""
