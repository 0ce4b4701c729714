"""A real API server for what talks to one."""

from apiserver_bed import api

__all__ = ["api"]
