"""A query log without labels, and graded relevance: what is reported, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import queryshift
from benchmark.cli.main import main
from benchmark.data.own.source import OwnSource
from benchmark.errors import QueryShiftError
from benchmark.metrics.probes import prediction_entropy
from benchmark.report import unlabelled
from benchmark.report.unlabelled import unlabelled_frame, unlabelled_verdict
from docs import gain_model
from methods.base import StepOutput
from queryshift import AdaptedMethod, MethodCard
from tests.benchmark.fixtures_own import COLOURS, make_pictures, write_csv
from tests.queryshift.towers import TOWERS

NAMES = list(COLOURS)
ROOT = Path(__file__).parents[2]


class Backwards(AdaptedMethod):
    """Every gallery item is scored by the opposite of its similarity."""

    card = MethodCard("backwards", "Backwards", "the least similar first", "none")

    def objective(self, forward):
        return forward.similarities.sum()

    def step(self, queries):
        out = super().step(queries)
        return StepOutput(-out.scores, out.embeddings, out.log)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Twelve pictures as queries, twelve captions as the gallery, nothing that joins them."""
    make_pictures(tmp_path)
    write_csv(tmp_path / "gallery.csv", [{"id": c, "caption": f"all {c}"} for c in NAMES])
    return write_csv(tmp_path / "log.csv", [{"id": c, "image": f"{c}.png"} for c in NAMES])


def run(log: Path, method="tent", **settings):
    given = {"gallery": str(log.parent / "gallery.csv"), "unlabelled": True, **settings}
    return queryshift.evaluate(method, TOWERS, log, progress=False, **given)


def test_what_changes_and_no_recall(log: Path) -> None:
    result = run(log, ["tent", Backwards], option={"lr": 0.0})
    frame = result.to_frame().set_index("method")
    assert set(frame["status"]) == {"done"}
    assert not [name for name in frame if "R@" in name or name in ("mAP", "consistency")]
    assert frame["changed@1"].to_dict() == {"source": 0.0, "tent": 0.0, "backwards": 100.0}
    assert frame["changed@10"]["backwards"] == 100.0
    assert frame["ms_per_query"].notna().all()
    assert frame["uniformity"].nunique() == 1  # nothing was learnt
    said = result.verdict()
    assert "no clean ones to compare with" in said
    assert "backwards changes the first candidate of 100.0 % of the queries" in said
    assert "and run without --unlabelled, with --shift none." in said
    assert "R@" not in said
    assert len(said.splitlines()) == 3
    assert "first candidate changed" in result._repr_html_()
    with pytest.raises(QueryShiftError, match="does not have"):
        result.plot()


def test_a_shift_is_measured_against_the_clean_table(log: Path) -> None:
    """Three of twelve pictures got another colour: three queries get another first candidate."""
    clean = log.parent / "clean"
    make_pictures(clean)
    write_csv(clean / "log.csv", [{"id": c, "image": f"{c}.png"} for c in NAMES])
    for name, other in (("red", "blue"), ("white", "black"), ("pink", "cyan")):
        (log.parent / f"{name}.png").write_bytes((clean / f"{other}.png").read_bytes())
    result = run(log, "source", clean=str(clean / "log.csv"))
    row = result.to_frame().iloc[0]
    assert row["shift_changed@1"] == pytest.approx(25.0)
    assert row["clean_changed@1"] == 0.0
    assert row["clean_uniformity"] != row["uniformity"]
    gallery = str(log.parent / "gallery.csv")
    same = run(clean / "log.csv", "source", gallery=gallery).to_frame().iloc[0]
    assert row["clean_uniformity"] == pytest.approx(same["uniformity"], rel=1e-5)
    assert row["clean_prediction_entropy"] == pytest.approx(same["prediction_entropy"], rel=1e-5)
    assert "25.0 % of the queries get another first candidate" in result.verdict()
    both = run(log, "source", clean=str(clean / "log.csv"), shift="contrast,none").verdict()
    assert both.startswith("contrast 5: against the clean queries")


def test_equal_gallery_items_are_one_candidate(log: Path) -> None:
    twice = [{"id": f"{c}{n}", "caption": f"all {c}"} for c in NAMES for n in (1, 2)]
    write_csv(log.parent / "gallery.csv", twice)
    frame = run(log, "tent", option={"lr": 0.0}).to_frame()
    assert set(frame["changed@1"]) == {0.0}
    assert set(frame["changed@10"]) == {0.0}


def test_one_query_and_few_items(log: Path) -> None:
    write_csv(log, [{"id": "red", "image": "red.png"}])
    write_csv(log.parent / "gallery.csv", [{"id": c, "caption": f"all {c}"} for c in NAMES[:2]])
    result = run(log)
    frame = result.to_frame()
    assert set(frame["status"]) == {"done"}
    assert "judge the 1 query" in result.verdict()
    assert "changed@10" not in frame  # the first ten are all of two
    write_csv(log.parent / "gallery.csv", [{"id": "a", "caption": "all red"}])
    with pytest.raises(QueryShiftError, match=r"gallery of 1.*expected at least 2"):
        run(log)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"gallery": ""}, "name the table of the gallery"),
        ({"qrels": "q.txt"}, "leave one of them out"),
        ({"unlabelled": False}, "no column relevant.*--unlabelled"),
    ],
)
def test_what_contradicts_itself(log: Path, wrong: dict, expected: str) -> None:
    with pytest.raises(QueryShiftError, match=expected):
        run(log, **wrong)


def test_data_in_memory_have_no_gallery_beside() -> None:
    pairs = {"image": ["a.png"], "caption": ["a"]}
    with pytest.raises(QueryShiftError, match="unlabelled= goes with tables on disk"):
        queryshift.evaluate("source", TOWERS, pairs, unlabelled=True)


def test_an_empty_log(log: Path) -> None:
    log.write_text("id,image\n")
    with pytest.raises(QueryShiftError, match="has no rows; expected at least one"):
        run(log)


def test_where_it_lies_travels_as_text() -> None:
    source = OwnSource("a.csv", gallery="b.csv", unlabelled=True)
    assert OwnSource.of(source.text) == source
    assert "unlabelled" not in OwnSource("a.csv", gallery="b.csv").text


def test_stored_cells_tables_and_report(log: Path, tmp_path: Path, capsys) -> None:
    run(log, "tent", out=str(tmp_path / "run"))
    made = {path.name for path in (tmp_path / "run").iterdir()}
    assert made >= {"unlabelled.csv", "tidy.csv"}
    assert not made & {"leaderboard.csv", "leaderboard.html", "figures"}
    frame = pd.read_csv(tmp_path / "run/unlabelled.csv")
    assert list(frame["method"]) == ["source", "tent"]
    assert "R@" not in (tmp_path / "run/tidy.csv").read_text()
    assert main(["report", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "12 queries without labels" in said
    assert "R@" not in said.replace("points of R@1", "")
    record = next((tmp_path / "run/cells").glob("*.json"))
    stored = json.loads(record.read_text())
    assert stored["info"]["unlabelled"] is True
    assert set(stored["batches"][0]) >= {"queries"}
    assert "R@1" not in stored["batches"][0]
    stored["metrics"]["changed@1"] = 42.0
    record.write_text(json.dumps(stored))
    left = queryshift.load_results(tmp_path / "run").to_frame()
    assert len(left) == 1  # the other contradicts its numbers per query


def test_entropy_agrees_with_loops() -> None:
    generator = torch.Generator().manual_seed(3)
    queries, gallery = (
        torch.nn.functional.normalize(torch.randn(n, 4, generator=generator)) for n in (5, 7)
    )
    total = 0.0
    for query in queries.double().numpy():
        weights = [np.exp(20.0 * float(query @ item)) for item in gallery.double().numpy()]
        shares = [weight / sum(weights) for weight in weights]
        total -= sum(share * np.log(share) for share in shares)
    assert prediction_entropy(queries, gallery, 20.0) == pytest.approx(total / 5 / np.log(7))
    assert prediction_entropy(queries, gallery, 0.0) == pytest.approx(1.0)


def test_ndcg_of_graded_relevance(log: Path, tmp_path: Path) -> None:
    """Colours that both towers see: the right one is first, so that only its grade matters."""
    lines = [f"{c} 0 {c} 1\n" for c in NAMES]
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("".join(lines))
    told = {"unlabelled": False, "qrels": str(qrels), "shift": "none"}
    result = run(log, "source", out=str(tmp_path / "run"), **told)
    assert result.to_frame()["nDCG@10"][0] == pytest.approx(100.0)
    qrels.write_text("".join(lines) + "".join(f"{c} 0 red 3\n" for c in NAMES if c != "red"))
    row = run(log, "source", out=str(tmp_path / "run"), **told).to_frame().iloc[0]
    assert row["R@1"] == 100.0  # any grade above 0 is relevant
    assert 0 < row["nDCG@10"] < 100.0  # but the best one is not first
    assert "nDCG@10" in pd.read_csv(tmp_path / "run/by_shift.csv")
    assert "nDCG&#64;10" in (tmp_path / "run/leaderboard.md").read_text()


# The expected gain


def tidy_of(cells: list[dict]) -> pd.DataFrame:
    rows = [
        {**{k: cell[k] for k in ("benchmark", "method")}, "stream": "single", "shift": "fog"}
        | {"severity": 5, "seed": 0, **cell["numbers"]}
        for cell in cells
    ]
    return pd.DataFrame(rows)


def test_gain_that_follows_from_the_numbers_is_found_on_data_left_out() -> None:
    from benchmark.data.card import load_suite

    generator = np.random.default_rng(1)
    cells = []
    for card in load_suite("mini").benchmarks:
        probes = dict(zip(unlabelled.PREDICTORS, generator.normal(size=4), strict=True))
        cells.append({"benchmark": card.id, "method": "source", "numbers": {**probes, "R@1": 30}})
        useful = {**probes, "R@1": 30 + 5 * probes["gap"]}
        cells.append({"benchmark": card.id, "method": "tent", "numbers": useful})
        noise = {**probes, "R@1": 30 + float(generator.normal())}
        cells.append({"benchmark": card.id, "method": "eata", "numbers": noise})
    fitted = gain_model.fit(tidy_of(cells))
    assert fitted["tent"]["error"] < 0.2 * fitted["tent"]["of_mean"]
    assert fitted["eata"]["error"] > 0.9 * fitted["eata"]["of_mean"]


@pytest.mark.slow
def test_the_shipped_regression_is_that_of_the_stored_cells() -> None:
    again = gain_model.fit(pd.read_csv(ROOT / "results/tidy.csv", low_memory=False))
    shipped = json.loads(unlabelled.FITTED.read_text())
    why = "results/tidy.csv has changed: run make gain-model"
    assert again.keys() == shipped.keys(), why
    for method, numbers in again.items():
        for name in ("slopes", "error", "of_mean"):
            assert np.allclose(numbers[name], shipped[method][name], rtol=1e-6), why


def test_no_gain_is_said_outside_of_the_stored_cells() -> None:
    shipped = json.loads(unlabelled.FITTED.read_text())
    source = dict(zip(unlabelled.PREDICTORS, shipped["tcr"]["mean"][:4], strict=True))
    inside = {
        name: source[name] + change
        for name, change in zip(unlabelled.PREDICTORS, shipped["tcr"]["mean"][4:], strict=True)
    }
    found = unlabelled.expected("tcr", inside, source)
    assert found.expected_gain == pytest.approx(shipped["tcr"]["centre"])  # the mean cell's gain
    assert found.expected_gain_error < found.error_of_mean_gain
    assert unlabelled.expected("tcr", inside, source, 0.5).expected_gain == 0.5  # all that changed
    far = {**source, "uniformity": 99.0}
    said = unlabelled.expected("tcr", far, far).no_expected_gain
    assert "uniformity of the unadapted model is 99, stored cells have" in said
    unknown = unlabelled.expected("mine", source, source)
    assert unknown.no_expected_gain == "no stored cells of the method"
    assert unlabelled.expected("tcr", {}, source).no_expected_gain == "a number is missing"


def test_frame_and_verdict_of_nothing() -> None:
    assert unlabelled_frame([]).empty
    assert unlabelled_verdict([]) == []
