"""Composed queries of the embedded default: picture, sentence that edits it, edited picture.

Two sets over the scenes of the mini world, after the shape of FashionIQ and of CIRR, and a small
combiner for each over the shipped base encoder.
"""
