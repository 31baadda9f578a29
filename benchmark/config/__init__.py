"""What a user may set: run settings, options, presets, YAML with line numbers."""
