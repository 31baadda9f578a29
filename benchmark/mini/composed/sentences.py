"""How people say a change: one sentence for general scenes, a short caption for garments."""

from __future__ import annotations

import numpy as np

from benchmark.mini.composed.changes import Change
from benchmark.mini.pictures.scenes import Scene, Thing, choose
from benchmark.mini.pictures.vocabulary import BACKGROUNDS, COLOUR_WORDS, SHAPES, SIZES, TEXTURES


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" or phrase.startswith("hour") else f"a {phrase}"


def _noun(thing: Thing, rng: np.random.Generator) -> str:
    return choose(rng, SHAPES[thing.shape], 0.7)


def _colour(thing: Thing, rng: np.random.Generator) -> str:
    return choose(rng, COLOUR_WORDS[thing.colour], 0.8)


def _texture(thing: Thing, rng: np.random.Generator) -> str:
    return choose(rng, TEXTURES[thing.texture][0], 0.5)


def _full(thing: Thing, rng: np.random.Generator) -> str:
    """All that can be seen of a thing: "small red striped star"."""
    words = [choose(rng, SIZES[thing.size], 0.5)] if SIZES[thing.size] else []
    words.append(_colour(thing, rng))
    if thing.texture != "plain" or rng.random() < 0.3:
        words.append(_texture(thing, rng))
    return " ".join([*words, _noun(thing, rng)])


def _named(thing: Thing, scene: Scene, rng: np.random.Generator) -> str:
    """The thing as the reference shows it, with its colour where the noun is not enough."""
    twins = sum(t.shape == thing.shape for t in scene.things)
    coloured = twins > 1 or rng.random() < 0.3
    colour = f"{_colour(thing, rng)} " if coloured else ""
    return f"the {colour}{_noun(thing, rng)}"


def _larger(old: Thing, new: Thing) -> str:
    """ "bigger", "smaller", or "much" of it where a size is skipped."""
    order = tuple(SIZES)
    step = order.index(new.size) - order.index(old.size)
    return ("much " if abs(step) > 1 else "") + ("bigger" if step > 0 else "smaller")


def scene_sentence(change: Change, scene: Scene, rng: np.random.Generator) -> str:
    """One sentence that says a change of ``scene``: "Replace the star with a fish"."""
    old, new = change.old, change.new
    if isinstance(new, str):
        place = choose(rng, BACKGROUNDS[new], 0.5)
        forms: tuple[str, ...] = (f"show the same {place}", f"now {place}", f"move it all {place}")
    elif not isinstance(new, Thing):
        assert isinstance(old, Thing)
        it = _named(old, scene, rng)
        forms = (f"remove {it}", f"take away {it}", f"the same without {it}")
    elif not isinstance(old, Thing):
        it = _article(_full(new, rng))
        forms = (f"add {it}", f"there is also {it}", f"put {it} beside")
    else:
        it = _named(old, scene, rng)
        if change.kind == "shape":
            other = _article(_noun(new, rng))
            forms = (f"replace {it} with {other}", f"{other} instead of {it}")
        elif change.kind == "colour":
            colour = _colour(new, rng)
            forms = (f"make {it} {colour}", f"{it} should be {colour}", f"paint {it} {colour}")
        elif change.kind == "texture":
            texture = _texture(new, rng)
            forms = (f"make {it} {texture}", f"{it} should be {texture}", f"{it} is {texture} now")
        else:
            size = _larger(old, new)
            forms = (f"make {it} {size}", f"{it} is {size}", f"{it} should be {size}")
    text = choose(rng, forms, 0.4)
    return text[0].upper() + text[1:]


def garment_caption(change: Change, rng: np.random.Generator) -> str:
    """One of the two captions of a garment: "is red", "has a blue star badge"."""
    old, new = change.old, change.new
    if isinstance(new, str):
        place = choose(rng, BACKGROUNDS[new], 0.5)
        forms: tuple[str, ...] = (f"is {place}", f"is shown {place}")
    elif not isinstance(new, Thing):
        forms = ("has no badge", "comes without a badge", "is missing the badge")
    elif not isinstance(old, Thing):
        badge = _article(f"{_colour(new, rng)} {_noun(new, rng)}")
        forms = (f"has {badge} badge", f"comes with {badge}", f"has {badge} beside it")
    elif change.kind == "badge shape":
        badge = _article(_noun(new, rng))
        forms = (f"has {badge} as its badge", f"has {badge} instead of the {_noun(old, rng)}")
    elif change.kind == "badge colour":
        colour = _colour(new, rng)
        forms = (f"has a {colour} badge", f"the {_noun(new, rng)} is {colour}")
    elif change.kind == "size":
        forms = (f"is {_larger(old, new)}",)
    elif change.kind == "texture":
        texture, behind = _texture(new, rng), TEXTURES[new.texture][1]
        forms = (f"is {texture}", f"is {texture} not {_texture(old, rng)}")
        forms += (f"comes {behind[-1]}",) if behind else ()
    else:
        colour = _colour(new, rng)
        forms = (f"is {colour}", f"is {colour} not {_colour(old, rng)}", f"is more {colour}")
    return choose(rng, forms, 0.5)
