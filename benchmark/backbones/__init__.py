"""Dual encoders behind one protocol."""

from benchmark.backbones import deferred

deferred.install()
