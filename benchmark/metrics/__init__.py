"""Metrics: recall, ranking, probes, intervals, average ranks."""

CONFLICT_DEGREES = 90.0
"""Two gradients conflict when the angle between them is larger than this."""
