"""A Kubernetes API server without I/O: requests in, answers and changes out.

    Request, Store  ->  Reply, Transaction, Watch

Not here    Connections, SQLite, certificates (cairn.api).
"""
