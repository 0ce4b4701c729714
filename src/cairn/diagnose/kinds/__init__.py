"""The rows of the registry of findings, one module an area.

nothing  ->  Kind
"""
