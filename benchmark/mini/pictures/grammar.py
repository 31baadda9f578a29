"""Captions of a scene: five templates with synonyms, as five people might describe one picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmark.mini.pictures.scenes import Scene, Thing
from benchmark.mini.pictures.vocabulary import BACKGROUNDS, COLOUR_WORDS, NOUNS, SIZES, TEXTURES


def choose(rng: np.random.Generator, words: tuple[str, ...], first: float = 0.6) -> str:
    """The first word with probability ``first``, otherwise any of them."""
    return words[0] if rng.random() < first else words[int(rng.integers(len(words)))]


def article(phrase: str) -> str:
    """The phrase with "a" or "an"."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def noun_phrase(
    thing: Thing,
    rng: np.random.Generator,
    *,
    size: float = 0.6,
    texture: float = 0.95,
    colour: float = 1.0,
) -> str:
    """For example "small red striped star"; an attribute appears with the probability given."""
    words: list[str] = []
    after = ""
    if SIZES[thing.size] and rng.random() < size:
        words.append(choose(rng, SIZES[thing.size]))
    colour_word = choose(rng, COLOUR_WORDS[thing.colour], 0.8) if rng.random() < colour else ""
    before, behind = TEXTURES[thing.texture]
    said = rng.random() < (texture if thing.texture != "plain" else 0.3 * texture)
    texture_word = ""
    if said and behind and rng.random() < 0.3:
        after = " " + behind[int(rng.integers(len(behind)))]
    elif said:
        texture_word = choose(rng, before)
    pair = [texture_word, colour_word] if rng.random() < 0.4 else [colour_word, texture_word]
    words += [w for w in pair if w]
    words.append(choose(rng, NOUNS[thing.shape], 0.7))
    return " ".join(words) + after


def join(parts: list[str]) -> str:
    """For example "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def sentence(text: str) -> str:
    """First letter capital and full stop, as annotators write."""
    return f"{text[0].upper()}{text[1:]}."


def _place(scene: Scene, rng: np.random.Generator, share: float) -> str:
    return " " + choose(rng, BACKGROUNDS[scene.background], 0.5) if rng.random() < share else ""


def _shuffled(scene: Scene, rng: np.random.Generator) -> list[Thing]:
    return [scene.things[i] for i in rng.permutation(len(scene.things))]


def _relation(a: Thing, b: Thing) -> tuple[str, ...]:
    """How ``a`` lies to ``b``; the picture's y axis points down."""
    dx, dy = a.x - b.x, a.y - b.y
    if abs(dx) > abs(dy):
        return ("to the left of", "left of") if dx < 0 else ("to the right of", "right of")
    return ("above", "over") if dy < 0 else ("below", "under")


def _list(scene: Scene, rng: np.random.Generator) -> str:
    things = [article(noun_phrase(t, rng)) for t in _shuffled(scene, rng)]
    return join(things) + _place(scene, rng, 0.95)


def _relate(scene: Scene, rng: np.random.Generator) -> str:
    things = _shuffled(scene, rng)
    phrases = [article(noun_phrase(t, rng, size=0.4)) for t in things]
    verb = choose(rng, ("", "is", "sits", "lies"), 0.5)
    if len(things) == 1:
        return f"{phrases[0]} {verb or 'is'}{_place(scene, rng, 1.0)}"
    relation = choose(rng, _relation(things[0], things[1]))
    text = " ".join(w for w in (phrases[0], verb, relation, phrases[1]) if w)
    if len(things) == 3:
        text += f", {choose(rng, ('with', 'next to', 'near'), 0.4)} {phrases[2]}"
    return text + _place(scene, rng, 0.9)


def _photo(scene: Scene, rng: np.random.Generator) -> str:
    opening = choose(rng, ("a photo of", "a picture of", "an image showing", "we see"), 0.4)
    things = [article(noun_phrase(t, rng, size=0.5)) for t in _shuffled(scene, rng)]
    return f"{opening} {join(things)}{_place(scene, rng, 0.9)}"


def _count(scene: Scene, rng: np.random.Generator) -> str:
    count = ("one thing", "two things", "three things")[len(scene.things) - 1]
    things = [article(noun_phrase(t, rng, size=0.4)) for t in _shuffled(scene, rng)]
    return f"{count}{_place(scene, rng, 1.0)}: {join(things)}"


def _partial(scene: Scene, rng: np.random.Generator) -> str:
    """Drops more than the others do, as hurried people do."""
    things = [
        article(noun_phrase(t, rng, size=0.2, texture=0.7, colour=0.92))
        for t in _shuffled(scene, rng)
    ]
    return f"there {'is' if len(things) == 1 else 'are'} {join(things)}{_place(scene, rng, 0.6)}"


TEMPLATES: tuple[Callable[[Scene, np.random.Generator], str], ...] = (
    _list,
    _relate,
    _photo,
    _count,
    _partial,
)


def captions(scene: Scene, rng: np.random.Generator) -> list[str]:
    """Five captions, one a template."""
    return [sentence(template(scene, rng)) for template in TEMPLATES]
