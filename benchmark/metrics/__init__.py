"""Metrics: recall, ranking, probes, bootstrap, average ranks."""
