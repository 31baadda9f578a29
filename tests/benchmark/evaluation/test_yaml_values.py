"""What people write into YAML files: read as meant, or refused in one line that names the place."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli.main import main
from benchmark.config.files import MAX_BYTES, read_document
from benchmark.config.run import from_file
from benchmark.errors import ConfigError
from benchmark.planning.gridfile import plan_grid, read_grid
from benchmark.planning.plan import MAX_CELLS

GRID = "suite: mini\nbenchmark: mini-coco-c-image\nshift: gaussian_noise\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def settings(folder: Path, text: str | bytes) -> dict[str, Any]:
    path = written(folder, text)
    found = from_file(argparse.Namespace(config=str(path)))
    return {name: traced.value for name, traced in found.items()}


def options_in_grid(folder: Path, entry: str) -> dict[str, Any]:
    path = written(folder, f"{GRID}method: [{entry}]\n")
    cells = plan_grid(read_grid(path), argparse.Namespace(limit="8")).cells
    return dict(cells[-1].cell.method.options)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("quiet: true", {"quiet": True}),
        ("quiet: off", {"quiet": False}),
        ("cache: off", {"cache": "off"}),
        ("out: 2026-02-31", {"out": "2026-02-31"}),
        ("time_limit: 1.5e-1", {"time_limit": 0.15}),
        ("limit: 010", {"limit": 10}),
        ("seed: 0-2", {"seed": (0, 1, 2)}),
        ("limit: ~", None),
        ("option: {a: off, b: 1e-3, c: 010, d: null}", None),
        (b"\xef\xbb\xbfseed: 1", {"seed": (1,)}),
        ("out: résultats".encode("utf-16"), {"out": "résultats"}),
    ],
)
def test_values_are_read_as_they_are_meant(
    tmp_path: Path, text: str | bytes, values: dict[str, Any] | None
) -> None:
    if values is not None:
        assert settings(tmp_path, text) == values
    elif "option" in str(text):
        read = settings(tmp_path, text)["option"]
        assert read == {"a": "off", "b": 0.001, "c": "010", "d": None}
    else:
        with pytest.raises(ConfigError, match=r"yaml:1: 'limit': .* not None"):
            settings(tmp_path, text)


def test_documented_words_are_options_values(tmp_path: Path) -> None:
    assert options_in_grid(tmp_path, "{rest: {decouple: off}}")["decouple"] == "off"
    assert options_in_grid(tmp_path, "{tent: {lr: 1e-3}}")["lr"] == 0.001
    assert options_in_grid(tmp_path, "{tent: {steps: 010}}")["steps"] == 10
    with pytest.raises(ConfigError, match=r"yaml:4: .* expected .*'off'.*, not 'no'"):
        options_in_grid(tmp_path, "{rest: {decouple: no}}")


LAUGHS = "method: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{key}: &{key} [{','.join(['*' + before] * 9)}]\n"
    for before, key in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("option: true", "1: 'option': expected a mapping .KEY: VALUE., not True"),
        ("seed: 1\noption: 3", "2: 'option': expected a mapping"),
        ("shift_option: [true]", "1: 'shift_option': expected KEY=VALUE, not True"),
        ("stream_option: 2026-02-28", "1: 'stream_option': expected KEY=VALUE"),
        ("seed: 1\nlimit: " + "9" * 5000, "2: not valid YAML: '99.* cannot be read as int"),
        ("limit: !!int abc", "1: not valid YAML: 'abc' cannot be read as int"),
        ("quiet: !!bool abc", "1: not valid YAML: 'abc' cannot be read as bool"),
        ("out: !!timestamp 2026-02-31", "1: not valid YAML: '2026-02-31' cannot be read as time"),
        ("out: !!python/object/apply:os.system ['id']", "1: not valid YAML: could not determine"),
        ("seed: 1\nout: a\x1bb", "2: not valid YAML: special characters"),
        (
            "time_limit: 1:30",
            "1: 'time_limit': expected a number of seconds above 0 and below 1e9, not '1:30'",
        ),
        ("time_limit: .inf", "1: 'time_limit': .* not inf"),
        ("limit: .nan", "1: 'limit': .* not nan"),
        ("limit: 0x10", "1: 'limit': .* not '0x10'"),
        ("cache: no", "1: 'cache': expected a folder or off, not 'no'"),
        ("1: 2", "1: the key 1 must be a text: put it in quotes"),
        ("? [a]\n: 2", "1: a key must be a text, not a list"),
        ("seed: 1\nseed: 2", "2: key 'seed' is already in line 1"),
        ("a: {b: 1, b: 2}", "1: key 'b' is already in line 1"),
        ("seed: 1\n\tlimit: 3", "2: not valid YAML"),
        ("hello", "1: expected a mapping .* not 'hello'"),
        ("option: &a {x: *a}", "1: an alias .* within what it names"),
        (LAUGHS, "[0-9]+: more than 200,000 values"),
        ("option: " + "[" * 3000 + "]" * 3000, r"file\.yaml is nested too deeply"),
        ("seed: 1\nout: r\xe9".encode("latin-1"), r"2: not UTF-8 \(byte 0xe9\); save it as UTF-8"),
        ("seed: 1".encode("utf-16-le"), r"file\.yaml holds zero bytes"),
        ("", r"file\.yaml is empty"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_what_cannot_be_meant_is_one_error_with_its_place(
    tmp_path: Path, text: str | bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, text)
    for words in (["bench", "--settings", "--config", str(path)], ["plan", str(path)]):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert len(error) < 1500
    with pytest.raises(ConfigError, match=message):
        settings(tmp_path, text)


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bytes, too many"):
        read_document(written(tmp_path, b"#" * (MAX_BYTES + 1)))


def test_an_alias_may_be_used_again(tmp_path: Path) -> None:
    read = read_document(written(tmp_path, "a: &x {lr: 1}\nb: *x\nc: [*x, *x]\n"))
    assert read.data["c"] == [{"lr": 1}, {"lr": 1}]


def sweep(values: int) -> str:
    listed = ", ".join(f"0.{i:05d}" for i in range(1, values + 1))
    return f"{{tent: {{lr: [{listed}], temperature: [{listed}]}}}}"


def test_a_sweep_beyond_the_limit_is_refused_at_once(tmp_path: Path) -> None:
    message = rf"yaml:4: 160,000 variants of 'tent' \(400 of lr x 400 of .*at most {MAX_CELLS:,}"
    with pytest.raises(ConfigError, match=message):
        options_in_grid(tmp_path, sweep(400))


def test_axes_beyond_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.planning.plan.MAX_CELLS", 20)
    path = written(tmp_path, f"{GRID}method: tent\nseed: 0-99\n")
    with pytest.raises(ConfigError, match="more than 20 cells, the most that one run may have"):
        plan_grid(read_grid(path), argparse.Namespace())


def test_a_preset_is_read_once_for_all_variants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.config import presets as preset

    reads = []
    preset._read.cache_clear()
    monkeypatch.setattr(
        preset, "read_document", lambda path: reads.append(path.name) or read_document(path)
    )
    options_in_grid(tmp_path, sweep(10))
    assert reads.count("mini.yaml") == 1
