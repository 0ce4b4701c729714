"""`cairn relay`: the flows of all nodes together, and their history.

each node's stream of batches  ->  one FlowStore, Hubble's API, Parquet files that can be asked
"""
