"""The other image-text worlds: a second scene style, garments, people, aerial views.

Each differs from the base world as the originals differ from COCO. Every picture is drawn from
seeds when asked for; every split is a hash of what can be seen.
"""
