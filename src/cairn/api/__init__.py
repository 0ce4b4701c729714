"""The API server's process: connections, durability, certificates, and the core's clock.

TLS connections  ->  cairn.apiserver.serve.Server  ->  SQLite, answers, watches, kubelets
"""
