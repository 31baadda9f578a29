"""The embedded video-audio twins: procedural clips with sounds, and a small encoder of both.

Everything here is synthetic: two sets that differ as AudioSet and VGGSound do, and one dual encoder
shared by both. Benchmark ids start with ``mini-``, so that no row can be taken for a real data set.
"""
