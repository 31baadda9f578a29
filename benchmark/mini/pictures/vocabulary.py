"""The words of the mini world and what they look like: nouns, colours, textures, backgrounds.

Each entry maps a canonical name to the words that captions use for it; the first is the commonest.
"""

from __future__ import annotations

SHAPES: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart",),
    "moon": ("moon", "crescent"),
    "cross": ("cross", "plus sign"),
    "ring": ("ring", "hoop"),
    "arrow": ("arrow",),
    "house": ("house", "cottage"),
    "tree": ("tree", "fir"),
    "fish": ("fish",),
    "car": ("car", "automobile"),
    "boat": ("boat", "sailboat"),
    "mushroom": ("mushroom", "toadstool"),
    "umbrella": ("umbrella", "parasol"),
    "key": ("key",),
    "cup": ("cup", "mug"),
    "bottle": ("bottle",),
    "flower": ("flower", "blossom"),
    "cloud": ("cloud",),
    "bolt": ("lightning bolt", "bolt"),
    "hourglass": ("hourglass",),
    "shirt": ("shirt", "top"),
    "boot": ("boot", "shoe"),
    "hat": ("hat",),
    "bag": ("bag", "handbag"),
    "person": ("person", "figure"),
}

NOVEL: dict[str, tuple[str, ...]] = {
    "lamp": ("lamp", "table lamp"),
    "snail": ("snail",),
    "cat": ("cat", "kitten"),
    "rocket": ("rocket", "spaceship"),
    "bird": ("bird", "sparrow"),
    "crown": ("crown",),
    "anchor": ("anchor",),
    "bell": ("bell",),
    "pear": ("pear",),
    "tent": ("tent",),
    "ladder": ("ladder",),
    "spoon": ("spoon",),
    "duck": ("duck",),
    "guitar": ("guitar",),
}
"""Things that no encoder has seen in training; mini-nocaps shows them."""

NOUNS = SHAPES | NOVEL

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 32, 32),
    "orange": (255, 140, 10),
    "yellow": (248, 226, 30),
    "green": (36, 150, 52),
    "turquoise": (38, 208, 204),
    "blue": (32, 76, 216),
    "purple": (130, 44, 176),
    "pink": (255, 122, 186),
    "brown": (122, 74, 32),
    "black": (22, 22, 26),
    "white": (246, 246, 246),
    "grey": (138, 142, 148),
}
"""sRGB, 0..255."""

COLOUR_WORDS: dict[str, tuple[str, ...]] = {name: (name,) for name in COLOURS} | {
    "turquoise": ("turquoise", "cyan"),
    "purple": ("purple", "violet"),
    "grey": ("grey", "gray"),
}

TEXTURES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plain": (("plain", "solid"), ()),
    "striped": (("striped",), ("with stripes",)),
    "dotted": (("dotted", "spotted"), ("with dots", "with spots")),
    "checkered": (("checkered", "chequered"), ("with a checker pattern",)),
}
"""Adjectives before the noun, phrases after it."""

SIZES: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "medium": (),
    "large": ("large", "big", "huge"),
}
"""A medium object is never called by its size."""

BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "grass": ("on the grass", "on a lawn", "on green grass"),
    "sand": ("on sand", "on a beach", "on the sand"),
    "brick": ("against a brick wall", "on red bricks", "in front of bricks"),
    "wood": ("on a wooden table", "on wood", "on wooden boards"),
    "water": ("in the water", "on the sea", "on water"),
    "sky": ("in the sky", "against a blue sky", "in a cloudy sky"),
    "snow": ("in the snow", "on snow", "on white snow"),
    "night": ("at night", "under the stars", "in the night sky"),
    "concrete": ("on concrete", "against a grey wall", "on a concrete floor"),
    "soil": ("on soil", "in the mud", "on brown earth"),
    "pebbles": ("on pebbles", "on stones", "among pebbles"),
    "sunset": ("at sunset", "in the evening sky", "under an orange sky"),
}
