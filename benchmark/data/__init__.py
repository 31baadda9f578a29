"""Data: retrieval sets, suites, tasks, data sets, media."""
