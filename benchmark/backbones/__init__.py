"""Dual encoders behind one protocol."""
