"""Planning: settings and grid files to cells, what fits together, what it will cost."""
