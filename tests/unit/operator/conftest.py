"""A real API server for the operator."""

from apiserver_bed import api

__all__ = ["api"]
