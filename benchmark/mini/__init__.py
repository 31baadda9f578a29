"""The embedded default: a procedural image-caption world, its small CLIP and the recipe of both.

Everything here is synthetic. Benchmark ids start with ``mini-`` so that no row of a table can be
taken for a real data set.
"""
