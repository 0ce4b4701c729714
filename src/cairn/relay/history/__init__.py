"""The history of flows: what was seen, on disk, and answers from it.

batches  ->  segments (append only, synced each second)  ->  Parquet files  ->  rows
"""
