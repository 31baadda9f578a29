"""The registry: lazy names, declared aliases, entry points that may be broken or impolite."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import SimpleNamespace

import pytest

from benchmark import registry as registry_module
from benchmark.errors import PluginError, UnknownNameError
from benchmark.registry import METHODS, REGISTRIES, SHIFTS, Registry

GROUP = "queryshift.things"


def point(name: str, value: str, dist: str | None = "outsider") -> EntryPoint:
    made = EntryPoint(name, value, GROUP)
    if dist is not None:
        vars(made)["dist"] = SimpleNamespace(name=dist)  # EntryPoint is immutable to setattr
    return made


@pytest.fixture
def plug(monkeypatch):
    """Makes entry points visible; returns a function that sets them."""
    points: list[EntryPoint] = []

    def visible(*, group: str) -> EntryPoints:
        return EntryPoints(p for p in points if p.group == group)

    monkeypatch.setattr(registry_module, "entry_points", visible)

    def put(*new: EntryPoint) -> None:
        points[:] = new

    return put


def things(**keywords) -> Registry:
    builtins = {
        "ordered": {"target": "collections:OrderedDict", "summary": "keeps order", "age": 3},
        "counter": {"target": "collections:Counter", "summary": "counts"},
    }
    keywords.setdefault("aliases", {"od": "ordered"})
    keywords.setdefault("base", "builtins:dict")
    return Registry("thing", builtins, **keywords)


def test_builtins_keep_their_order_and_load_to_their_class(plug):
    from collections import Counter

    registry = things()
    assert registry.names() == ["ordered", "counter"]
    assert registry.get("counter") is Counter
    assert registry.origin("counter") == "built-in"


def test_info_says_all_that_is_declared(plug):
    info = things().info("ordered")
    assert (info.target, info.summary, info.aliases) == (
        "collections:OrderedDict",
        "keeps order",
        ("od",),
    )
    assert info.facts == {"age": 3}


def test_alias_stands_for_its_name_everywhere(plug):
    registry = things()
    assert registry.resolve("od") == "ordered"
    assert registry.get("od") is registry.get("ordered")
    assert registry.info("od").name == "ordered"
    assert "od" in registry
    assert "od" not in registry.names()


@pytest.mark.parametrize(
    ("wrong", "hint"),
    # An abbreviation is an error too, even where it can mean one name only.
    [("ordred", "'ordered'"), ("coun", "'counter'"), ("ord", "'ordered'"), ("zzzz", "")],
)
def test_unknown_name_says_the_nearest_and_how_to_list(plug, wrong, hint):
    with pytest.raises(UnknownNameError) as caught:
        things().get(wrong)
    said = str(caught.value)
    assert "queryshift list things" in said
    assert "counter, od, ordered" in said
    assert ("did you mean" in said) == bool(hint)
    assert hint in said.partition(";")[2].partition("known")[0]


def test_plugins_come_after_builtins_sorted_and_are_not_imported(plug):
    sys.modules.pop("colorsys", None)
    plug(point("zeta", "colorsys:rgb_to_hsv"), point("alpha", "collections:OrderedDict"))
    registry = things()
    assert registry.names() == ["ordered", "counter", "alpha", "zeta"]
    assert registry.origin("zeta") == "outsider"
    assert registry.info("zeta").target == "colorsys:rgb_to_hsv"
    assert "colorsys" not in sys.modules


@pytest.mark.parametrize("registry", [METHODS, SHIFTS], ids=lambda registry: registry.plural)
def test_listings_say_what_the_cards_say(registry):
    for name in registry.names():
        info, card = registry.described(name), registry.get(name).card
        assert info.summary == card.summary, name
        assert info.facts.get("modality") == getattr(card, "modality", None), name
        assert card.name == name or registry.origin(name) != "built-in"


def test_a_plugins_card_is_read_from_its_source_without_running_it(plug, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "wordy.py").write_text(
        "raise SystemExit\n\nclass Loud(dict):\n"
        "    card = Card(name='loud', summary='says so itself', modality='text')\n"
        "class Mute(dict):\n    card = Card('mute', made())\n",
        encoding="utf-8",
    )
    plug(point("loud", "wordy:Loud"), point("mute", "wordy:Mute"))
    registry = things()
    loud = registry.described("loud")
    assert (loud.summary, loud.facts) == ("says so itself", {"modality": "text"})
    assert registry.described("mute").summary == "plugin: wordy:Mute"


def test_options_that_are_no_dataclass_are_said_by_name(plug, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "loose.py").write_text("class Loose(dict):\n    Options = dict\n", encoding="utf-8")
    plug(point("loose", "loose:Loose"))
    with pytest.raises(PluginError, match=r"'loose' of outsider .* whose Options is a dataclass"):
        things().get("loose")


def test_listing_is_cached_until_refreshed(plug):
    registry = things()
    assert "late" not in registry
    plug(point("late", "collections:Counter"))
    assert "late" not in registry
    registry.refresh()
    assert "late" in registry


def test_a_plugin_may_not_take_a_builtins_name(plug, caplog):
    from collections import Counter

    plug(point("counter", "collections:OrderedDict"))
    assert things().get("counter") is Counter
    (line,) = caplog.messages
    assert "collections:OrderedDict" in line
    assert "collections:Counter (built-in)" in line
    assert "outsider" in line


def test_a_plugin_may_not_take_an_alias(plug, caplog):
    plug(point("od", "collections:Counter"))
    assert things().info("od").name == "ordered"
    assert "short name of 'ordered'" in caplog.messages[0]


def test_of_two_plugins_with_one_name_the_first_distribution_keeps_it(plug, caplog):
    plug(
        point("twin", "collections:Counter", "beta"),
        point("twin", "collections:OrderedDict", "alpha"),
    )
    assert things().origin("twin") == "alpha"
    (line,) = caplog.messages
    assert "of beta" in line
    assert "(alpha)" in line


def test_the_same_plugin_found_twice_is_fine(plug, caplog):
    plug(point("twin", "collections:Counter"), point("twin", "collections:Counter"))
    assert things().names().count("twin") == 1
    assert not caplog.messages


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_package_here:Thing", "no module 'no_such_package_here'"),
        ("collections", "not of the form"),
        ("not a target", "not of the form"),
    ],
)
def test_a_broken_plugin_is_left_out_with_its_reason(plug, caplog, value, reason):
    plug(point("broken", value), point("good", "collections:Counter"))
    assert things().names() == ["ordered", "counter", "good"]
    (line,) = caplog.messages
    assert "'broken'" in line
    assert reason in line


def test_a_plugin_that_fails_to_import_is_listed_but_refused_on_use(plug, tmp_path, monkeypatch):
    (tmp_path / "exploding_plugin.py").write_text("raise RuntimeError('out of luck')")
    monkeypatch.syspath_prepend(tmp_path)
    plug(point("bomb", "exploding_plugin:Thing"))
    registry = things()
    assert "bomb" in registry.names()
    with pytest.raises(PluginError, match=r"'bomb' of outsider .*RuntimeError: out of luck"):
        registry.get("bomb")


def test_usable_warns_of_the_broken_and_keeps_the_rest(plug, caplog):
    plug(point("bad", "collections:NoSuchThing"), point("good", "collections:Counter"))
    assert things().usable() == ["ordered", "counter", "good"]
    assert "'bad'" in caplog.text


@pytest.mark.parametrize("name", ["a,b", " a", "a\nb", "all"])
def test_a_name_that_no_list_could_hold_is_left_out(plug, caplog, name):
    plug(point(name, "collections:Counter"))
    assert things().names() == ["ordered", "counter"]
    assert "a name is one line without commas" in caplog.messages[0]


def test_a_plugin_that_names_the_running_script_is_left_out(plug, caplog, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)  # as ``python script.py`` has it
    plug(point("here", "__main__:Thing"))
    assert things().names() == ["ordered", "counter"]
    assert "there is no module '__main__'" in caplog.messages[0]


def test_a_class_of_another_kind_is_refused_on_load(plug):
    plug(point("odd", "collections:deque"))
    with pytest.raises(PluginError, match=r"is not a builtins\.dict"):
        things().get("odd")


def test_an_abstract_class_is_refused_and_says_what_is_missing(plug):
    plug(point("half", "collections.abc:Mapping"))
    with pytest.raises(PluginError, match="defines __getitem__, __iter__, __len__"):
        things(base="collections.abc:Mapping").get("half")


def test_an_entry_point_without_distribution_is_named_as_such(plug):
    plug(point("loose", "collections:Counter", dist=None))
    assert things().origin("loose") == "an unnamed distribution"


def test_the_four_kinds_have_their_entry_point_groups():
    assert {kind: r.group for kind, r in REGISTRIES.items()} == {
        kind: f"queryshift.{kind}" for kind in ("methods", "shifts", "benchmarks", "backbones")
    }
