"""How people are described: two short sentences by two annotators, or one long one."""

from __future__ import annotations

import numpy as np

from benchmark.mini.pictures.grammar import article, choose, sentence
from benchmark.mini.pictures.vocabulary import COLOUR_WORDS, TEXTURES
from benchmark.mini.worlds.people import Person

_TOPS = {"shirt": ("shirt", "top"), "coat": ("coat", "jacket")}
_BOTTOMS = {"trousers": ("trousers", "pants"), "shorts": ("shorts",), "skirt": ("skirt",)}
_HAIR = {"yellow": ("blond", "yellow")}


def _colour(name: str, rng: np.random.Generator) -> str:
    return choose(rng, COLOUR_WORDS[name], 0.8)


def _who(person: Person, rng: np.random.Generator) -> str:
    return choose(rng, ("a woman", "a person") if person.long_hair else ("a man", "a person"), 0.7)


def _top(person: Person, rng: np.random.Generator, texture: float = 0.9) -> str:
    words = [_colour(person.top_colour, rng)]
    before, behind = TEXTURES[person.top_texture]
    after = ""
    if person.top_texture != "plain" and rng.random() < texture:
        if rng.random() < 0.3:
            after = " " + behind[int(rng.integers(len(behind)))]
        else:
            words.insert(int(rng.integers(2)), choose(rng, before))
    return article(" ".join([*words, choose(rng, _TOPS[person.top], 0.6)])) + after


def _bottom(person: Person, rng: np.random.Generator) -> str:
    noun = choose(rng, _BOTTOMS[person.bottom], 0.6)
    phrase = f"{_colour(person.bottom_colour, rng)} {noun}"
    return article(phrase) if noun == "skirt" else phrase


def _shoes(person: Person, rng: np.random.Generator) -> str:
    return f"{_colour(person.shoes, rng)} {choose(rng, ('shoes', 'boots'), 0.7)}"


def _extras(person: Person, rng: np.random.Generator, share: float) -> list[str]:
    said: list[str] = []
    if person.bag and rng.random() < share:
        bag = choose(rng, ("bag", "handbag"), 0.7)
        said.append(f"carrying {article(f'{_colour(person.bag, rng)} {bag}')}")
    if person.hat and rng.random() < share:
        said.append(f"with {article(f'{_colour(person.hat, rng)} hat')}")
    return said


def _wearing(person: Person, rng: np.random.Generator) -> str:
    text = f"{_who(person, rng)} in {_top(person, rng)} and {_bottom(person, rng)}"
    if rng.random() < 0.6:
        text += f" and {_shoes(person, rng)}"
    return ", ".join([text, *_extras(person, rng, 0.8)])


def _pieces(person: Person, rng: np.random.Generator) -> str:
    said = [_top(person, rng), _bottom(person, rng), _shoes(person, rng)]
    said = [said[i] for i in rng.permutation(3)]
    said += _extras(person, rng, 0.7)
    verb = choose(rng, ("wears", "is wearing", "has"), 0.5)
    return f"{_who(person, rng)} {verb} " + ", ".join(said)


def _long(person: Person, rng: np.random.Generator) -> str:
    hair = choose(rng, _HAIR.get(person.hair, (person.hair,)), 0.7)
    length = "long" if person.long_hair else "short"
    text = f"{_who(person, rng)} with {length} {hair} hair is dressed in {_top(person, rng, 1.0)}"
    text += f" over {_bottom(person, rng)} and walks in {_shoes(person, rng)}"
    return ", ".join([text, *_extras(person, rng, 0.9)])


def two_captions(person: Person, rng: np.random.Generator) -> list[str]:
    """Two annotators, as in CUHK-PEDES."""
    return [sentence(_wearing(person, rng)), sentence(_pieces(person, rng))]


def one_caption(person: Person, rng: np.random.Generator) -> list[str]:
    """One longer sentence, as in ICFG-PEDES."""
    return [sentence(_long(person, rng))]
