"""The lab's kubelet: runs the pods of one node as processes.

Pod objects of one node  ->  namespaces, control groups, processes  ->  Pod and Node status
"""
