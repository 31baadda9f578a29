"""What a reader sees of a run: tables on the terminal, CSV files, a page, figures.

Everything here is a pure function of the stored cells: writing it again gives the same bytes.
"""
