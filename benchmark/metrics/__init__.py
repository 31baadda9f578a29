"""Metrics: recall, ranking, probes, intervals, average ranks."""
