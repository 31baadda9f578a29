"""The mini world of pictures and captions, and the encoder that ships for it."""
