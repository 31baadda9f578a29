"""Audio shifts: background sounds and noise on mono recordings."""
