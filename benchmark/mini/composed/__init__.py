"""Composed queries of the embedded default, after FashionIQ and CIRR; a combiner for each set."""
