"""Text corruptions: characters, words and sentences of a caption.

Importing this package imports nothing else; the registry loads the classes from their modules.
"""
