"""Own data: a user's tables, folders and shards as retrieval sets."""
