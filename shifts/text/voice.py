"""Sentence-level corruptions by rules: passive and active voice of captions.

Captions are mostly noun phrases ("a man riding a horse"), so the rules work on participles: a small
verb table turns "NP V-ing NP" into "NP being V-ed by NP" and back. Captions that fit no rule stay
as they are; ``shifts.text.coverage`` counts them.
"""

from __future__ import annotations

import numpy as np

from shifts.base import Shift
from shifts.text.phrases import DETERMINERS, is_plural, outline, word_set
from shifts.text.sentences import rule_card

PARTICIPLES = dict(sorted(pair.split("/") for pair in word_set("verbs")))
"""Transitive -ing form -> past participle."""

_ING = {participle: ing for ing, participle in PARTICIPLES.items()}
_INTRANSITIVE = word_set("intransitive")
_PROGRESSIVE = frozenset(PARTICIPLES) | _INTRANSITIVE
_AUXILIARIES = word_set("auxiliaries")
_FINITE = _AUXILIARIES | word_set("finite")
_BOUNDARY = _PROGRESSIVE | word_set("boundaries")
_OBJECT_FORM = {"he": "him", "she": "her", "they": "them", "we": "us", "i": "me"}
_PICTURES = word_set("pictures")
_LONGEST_SUBJECT = 10  # words; longer ones hold clauses that these rules would tear apart


def _be(noun_phrase: list[str]) -> str:
    return "are" if is_plural(noun_phrase) else "is"


def _split_lead(words: list[str]) -> tuple[list[str], list[str]]:
    """("there is" or "a photo of", rest): what stays in front of either voice."""
    lower = [word.lower() for word in words[:3]]
    if lower[:2] in (["there", "is"], ["there", "are"]):
        return words[:2], words[2:]
    if len(lower) == 3 and lower[1] in _PICTURES and lower[2] in ("of", "showing"):
        return words[:3], words[3:]
    return [], words


def _noun_phrase_end(words: list[str], start: int) -> int | None:
    """One past a noun phrase that begins with a determiner at ``start``; None if there is none."""
    if start >= len(words) or words[start].lower() not in DETERMINERS:
        return None
    end = start + 1
    while end < len(words) and words[end].lower() not in _BOUNDARY:
        end += 1
    return end if end > start + 1 else None


def _with_lead(lead: list[str], subject: list[str], rest: list[str]) -> list[str]:
    if lead[:1] == ["there"]:
        lead = ["there", _be(subject)]
    return [*lead, *subject, *rest]


def to_passive(words: list[str]) -> list[str] | None:
    """From "a man riding a horse" to "a horse being ridden by a man"; None if it does not fit.

    Args:
        words: the caption's words, without closing marks.
    """
    if len(words) > 2 and [word.lower() for word in words[:2]] == ["we", "see"]:
        seen = words[2:]
        end = _noun_phrase_end(seen, 0)
        return None if end is None else [*seen[:end], _be(seen[:end]), "seen", *seen[end:]]
    lead, body = _split_lead(words)
    limit = body[: _LONGEST_SUBJECT + 1]
    verb = next((i for i, word in enumerate(limit) if i and word in PARTICIPLES), None)
    if verb is None:
        return None
    end = _noun_phrase_end(body, verb + 1)
    if end is None or any(word[-1] in ",:;" for word in body[: end - 1]):
        return None
    finite = body[verb - 1] in _AUXILIARIES
    subject, target = body[: verb - finite], body[verb + 1 : end]
    if not subject or any(word in _FINITE for word in subject):
        return None
    subject = [_OBJECT_FORM.get(word.lower(), word) for word in subject]
    rest = body[end:]
    if rest[:1] in (["and"], ["or"]):  # "riding a horse and a donkey": where it ends is unclear
        return None
    if target[-1][-1] in ",:;":
        target, subject = _move_mark(target, subject)
    middle = [_be(target)] if finite else []
    return _with_lead(
        lead, target, [*middle, "being", PARTICIPLES[body[verb]], "by", *subject, *rest]
    )


def _move_mark(giver: list[str], taker: list[str]) -> tuple[list[str], list[str]]:
    """The last word's mark goes to the other phrase, which now stands there."""
    mark = giver[-1][-1]
    return [*giver[:-1], giver[-1][:-1]], [*taker[:-1], taker[-1] + mark]


def to_active(words: list[str]) -> list[str] | None:
    """Undoes a "by" passive; else makes a participle finite; else begins with "there is".

    Args:
        words: the caption's words, without closing marks.

    Returns:
        New words, or None where the caption already is an active sentence or fits no rule.
    """
    lead, body = _split_lead(words)
    undone = _undo_passive(body)
    if undone is not None:
        return _with_lead(lead, *undone)
    if lead or any(word in _FINITE for word in body):
        return None
    limit = body[: _LONGEST_SUBJECT + 1]
    verb = next((i for i in range(2, len(limit)) if _is_verb(body, i)), None)
    opens = bool(body) and body[0].lower() in DETERMINERS
    if verb is not None and opens and not any(word[-1] in ",:;" for word in body[:verb]):
        return [*body[:verb], _be(body[:verb]), *body[verb:]]
    return ["there", _be(_first_phrase(body)), *body] if opens and len(body) > 1 else None


def _is_verb(words: list[str], i: int) -> bool:
    """Whether an -ing word is the phrase's verb and not part of a noun ("swimming pool")."""
    if words[i] in PARTICIPLES:
        return True
    return words[i] in _INTRANSITIVE and (
        i + 1 == len(words) or words[i + 1].lower() in _BOUNDARY | DETERMINERS
    )


def _first_phrase(words: list[str]) -> list[str]:
    """The words up to the first preposition, conjunction, participle or comma."""
    for i, word in enumerate(words):
        if word.lower() in _BOUNDARY:
            return words[:i]
        if word[-1] in ",:;":
            return [*words[:i], word[:-1]]
    return words


def _undo_passive(body: list[str]) -> tuple[list[str], list[str]] | None:
    """(subject, verb and the rest) of the active form of "NP (is) being V-ed by NP ..."."""
    by = next((i for i, word in enumerate(body) if word == "by"), None)
    if by is None or by < 2 or body[by - 1] not in _ING:
        return None
    end = _noun_phrase_end(body, by + 1)
    before = body[: by - 1]
    if before and before[-1] == "being":
        before = before[:-1]
    finite = bool(before) and before[-1] in _AUXILIARIES
    target = before[:-1] if finite else before
    if end is None or not target or any(word[-1] in ",:;" for word in body[: end - 1]):
        return None
    subject = body[by + 1 : end]
    if subject[-1][-1] in ",:;":
        subject, target = _move_mark(subject, target)
    middle = [_be(subject)] if finite else []
    return subject, [*middle, _ING[body[by - 1]], *target, *body[end:]]


class PassiveRules(Shift):
    """Turns "NP V-ing NP" into "NP being V-ed by NP" for the verbs of a small table."""

    card = rule_card("passive_rules", "passive voice by rules", randomised=False)

    def corrupt(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """A caption that the rule does not fit comes back as it is."""
        parts = outline(item)
        words = to_passive(parts.words)
        return item if words is None else parts.rebuild(words)


class ActiveRules(Shift):
    """Undoes passives, makes participles finite, and opens bare noun phrases with "there is"."""

    card = rule_card("active_rules", "active voice by rules", randomised=False)

    def corrupt(self, item: str, severity: int, rng: np.random.Generator) -> str:
        """A caption that no rule fits comes back as it is."""
        parts = outline(item)
        words = to_active(parts.words)
        return item if words is None else parts.rebuild(words)
