"""One cell: stream, loader, runner, resources, cache."""
