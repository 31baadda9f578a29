"""The other image-text worlds: a second scene style, garments, people, aerial views."""
