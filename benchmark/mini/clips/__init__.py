"""The embedded video-audio twins: procedural clips with sounds, and a small encoder of both."""
