"""Prometheus metrics: the registry, those that every process has, and how they are served."""
