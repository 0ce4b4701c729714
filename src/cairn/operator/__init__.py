"""The operator: gives addresses, compiles BGP configuration, and says how it goes.

pools, Services, policies, nodes  ->  statuses, CiliumBGPNodeConfigs, Events
what no part acts on             ->  conditions and Events that say so
"""
