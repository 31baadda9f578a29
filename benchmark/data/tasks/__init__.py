"""How the queries and the gallery of each kind of retrieval are made."""
