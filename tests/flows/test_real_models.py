"""Declared models of several kinds on real data: each learns, and learns again when its data grows.

The model files are `models/*.toml` beside this module. What is judged in the end are rows of real simulations and
measurements that gitdata never had in its hands, against the best that one constant answer can do.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from world import Clone, World

MODELS = Path(__file__).parent / "models"
LANGUAGE = Path(__file__).parents[2] / "docs" / "model-language.md"
Columns = dict[str, np.ndarray]
Kept = Callable[[str, Columns], Path]


@pytest.fixture
def lab(tmp_path: Path) -> Clone:
    """A repository without a remote, which trains what is committed."""
    clone = World.make(tmp_path, init=False).clone
    clone.git("remote", "remove", "origin")
    clone.gitdata("init")
    return clone


@pytest.fixture
def keep(tmp_path: Path) -> Kept:
    """Columns as an npz file beside the repository; its path."""

    def make(name: str, columns: Columns) -> Path:
        path = tmp_path / f"{name}.npz"
        np.savez(path, **columns)
        return path

    return make


def learn(lab: Clone, model: str, dataset: str, base: Path, more: Path, *roles: str) -> dict[str, Any]:
    """Base, check, training, extension, training of what is unseen; the record of the champion that saw both."""
    splits = ["--test", "0.2", "--validation", "0.15"]  # what a rung has forgotten of the base shows in validation
    lab.declare(model, (MODELS / f"{model}.toml").read_text())
    first = lab.gitdata("add", dataset, base, *splits, *roles, "-m", "base", "--json").records[0]["id"]
    lab.commit("model")
    assert "nothing was found" in lab.gitdata("check", model).out
    assert lab.gitdata("train", model, "--json").records[-1]["verdict"] == "accepted"
    second = lab.gitdata("extend", dataset, more, *splits, "-m", "more", "--json").records[0]["id"]
    again = lab.gitdata("train", model, "--json").records[-1]
    assert (again["action"], again["unseen"]) == ("train", [second])
    assert lab.gitdata("train", model, "--json").records[-1]["action"] == "nothing"
    old, champion = lab.gitdata("models", model, "--json").records
    assert (old["added"], champion["added"]) == ([first], [second])
    assert (old["champion"], champion["champion"]) == (False, True)
    saw = [line for line in lab.gitdata("lineage", model).out.splitlines() if "saw" in line]
    assert [first[:8] in saw[-1], second[:8] in saw[0]] == [True, True]
    return champion


def answers(lab: Clone, model: str, file: Path) -> dict[str, list[str]]:
    """What a version says of the rows of a file, by output."""
    lab.gitdata("predict", model, file, "-o", "said.csv")
    with (lab.path / "said.csv").open() as said:
        rows = list(csv.DictReader(said))
    return {name: [row[name] for row in rows] for name in rows[0]}


def decades(said: list[str], true: np.ndarray) -> float:
    """Mean distance in decades, |log10 said − log10 true|, as a share of what the best constant has."""
    logarithms = np.log10(true)
    missed = np.abs(np.log10(np.array(said, float)) - logarithms).mean()
    return float(missed / np.abs(logarithms - np.median(logarithms)).mean())


def right(said: list[str], true: np.ndarray) -> float:
    """The share of rows that are given their class."""
    return float((np.array(said, int) == true).mean())


def most_frequent(true: np.ndarray) -> float:
    """The share of rows that are right when all are given the most frequent class."""
    return float(np.bincount(true).max() / len(true))


# --- lattice: numbers and categories -------------------------------------------------------------------------


def load_cases(shared_data: Path, first: int, last: int) -> list[dict[str, str]]:
    """The load cases of the lattice runs `first` up to but not including `last`: 16 of each, in time order."""
    with (shared_data / "lattice" / "lattice_summary.csv").open() as summary:
        return list(csv.DictReader(summary))[16 * first : 16 * last]


def numbers(cases: list[dict[str, str]], *names: str) -> Columns:
    return {name: np.array([float(case[name]) for case in cases]) for name in names}


def words(cases: list[dict[str, str]], *names: str) -> Columns:
    return {name: np.array([case[name] for case in cases]) for name in names}


def test_lattice(lab: Clone, keep: Kept, shared_data: Path) -> None:
    def part(first: int, last: int) -> Columns:
        cases = load_cases(shared_data, first, last)
        return numbers(cases, "t1", "t2", "t3", "W_max", "P_peak") | words(cases, "scenario", "dir")

    learn(lab, "lattice", "lattice", keep("base", part(0, 60)), keep("more", part(60, 95)))
    later = part(95, 107)
    said = answers(lab, "lattice", keep("later", later))
    assert decades(said["W_max"], later["W_max"]) < 0.25
    assert decades(said["P_peak"], later["P_peak"]) < 0.25


# --- gas: classes, and sensors that drift --------------------------------------------------------------------


@pytest.mark.slow
def test_gas(lab: Clone, keep: Kept, shared_data: Path) -> None:
    first, second = (dict(np.load(shared_data / "gas_drift" / f"batch{number}.npz")) for number in (1, 2))
    fifth = np.arange(len(second["gas"])) % 5 == 0
    more, later = ({name: second[name][rows] for name in ("x", "gas")} for rows in (~fifth, fifth))
    base = {name: first[name] for name in ("x", "gas")}
    learn(lab, "gas", "gas", keep("base", base), keep("more", more))
    judged = keep("later", {"x": later["x"]})
    stale, fresh = (right(answers(lab, f"gas@{n}", judged)["gas"], later["gas"]) for n in (1, 2))
    assert fresh > 0.9 > most_frequent(later["gas"]) + 0.4
    assert fresh > stale + 0.1  # the sensors of the second batch have drifted


# --- digits: images ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_digits(lab: Clone, keep: Kept, shared_data: Path) -> None:
    stored = np.load(shared_data / "mnist10k" / "mnist10k.npz")
    images, digits = stored["x"], stored["y"].astype(int)

    def part(first: int) -> Columns:
        return {"image": images[first::4], "digit": digits[first::4].astype(np.uint8)}

    learn(lab, "digits", "digits", keep("base", part(0)), keep("more", part(2)))
    said = answers(lab, "digits", keep("later", {"image": images[3::8]}))
    assert right(said["digit"], digits[3::8]) > 0.9 > most_frequent(digits[3::8]) + 0.7
    lab.gitdata("train", "digits", "--force")  # from scratch: another version, with the same weights
    versions = lab.gitdata("models", "digits", "--json").records
    lab.gitdata("train", "digits", "--force")  # the very same version: its verdict is not against itself
    assert lab.gitdata("models", "digits", "--json").records == versions


# --- curves: sequences ---------------------------------------------------------------------------------------


def curves(shared_data: Path, first: int, last: int) -> Columns:
    """The raw curves: the deformation gradient F of each of 151 steps, (rows, 151, 9), and the strut parameters.

    Stresses and energies are left out: W_max is their integral, and P_peak is one of them. F is prescribed in part
    only; how far the cell contracts across the load is its answer, which a test machine would measure too.
    """
    folder = shared_data / "lattice"
    columns = json.loads((folder / "files.json").read_text())["cols"]
    gradient = [columns.index(f"F{i}{j}") for i, j in product((1, 2, 3), repeat=2)]
    runs = [run["run"] for run in json.loads((folder / "runs.json").read_text())[first:last]]
    raw = [np.load(folder / "runs" / f"{run}.npz")["a"][..., gradient] for run in runs]
    cases = numbers(load_cases(shared_data, first, last), "t1", "t2", "t3", "W_max", "P_peak")
    return {"deformation": np.concatenate(raw)} | cases


def test_curves(lab: Clone, keep: Kept, shared_data: Path) -> None:
    base, more, later = (curves(shared_data, *runs) for runs in ((0, 60), (60, 95), (95, 107)))
    learn(lab, "curves", "curves", keep("base", base), keep("more", more), "--outputs", "W_max,P_peak")
    said = answers(lab, "curves", keep("later", {name: later[name] for name in ("deformation", "t1", "t2", "t3")}))
    assert decades(said["W_max"], later["W_max"]) < 0.25
    assert decades(said["P_peak"], later["P_peak"]) < 0.25


# --- cells: graphs -------------------------------------------------------------------------------------------


def struts() -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """The 56 struts of a cubic cell (0 … 2)³, from a corner to another joint, and which of t1, t2, t3 they have.

    24 halves of the 12 edges (0), 24 halves of the 12 face diagonals (1), 8 halves of the 4 space diagonals (2). The
    data says that t1, t2, t3 are parameters of struts, and not of which: this cell is ours, in the place of theirs.
    """
    pairs = product(product((0, 1, 2), repeat=3), product((0, 2), repeat=3))
    return [
        (middle.count(1) - 1, corner, middle)
        for middle, corner in pairs
        if 1 in middle and all(m in (1, c) for m, c in zip(middle, corner, strict=True))
    ]


def cells(shared_data: Path, first: int, last: int) -> Columns:
    """A graph for each load case, its nodes the struts and its edges the pairs of struts that share a joint.

    `struts`: (rows, 56, 8), thickness, length, direction (3), middle (3); `neighbours`: (rows, 244, 2).
    """
    cell, cases = struts(), load_cases(shared_data, first, last)
    ends = np.array([strut[1:] for strut in cell]) / 2
    along = ends[:, 1] - ends[:, 0]
    length = np.linalg.norm(along, axis=1, keepdims=True)
    fixed = np.concatenate([length, np.abs(along) / length, ends.mean(axis=1)], axis=1)
    thickness = np.stack([*numbers(cases, "t1", "t2", "t3").values()], axis=1)[:, [kind for kind, *_ in cell]]
    nodes = np.concatenate([thickness[..., None], np.broadcast_to(fixed, (len(cases), *fixed.shape))], axis=2)
    pairs = [(i, j) for i in range(len(cell)) for j in range(i) if {*cell[i][1:]} & {*cell[j][1:]}]
    edges = np.broadcast_to(np.array(pairs, np.int16), (len(cases), len(pairs), 2))
    graphs = {"struts": nodes.astype(np.float32), "neighbours": edges}
    return graphs | words(cases, "scenario", "dir") | numbers(cases, "W_max")


def test_cells(lab: Clone, keep: Kept, shared_data: Path) -> None:
    base, more, later = (cells(shared_data, *runs) for runs in ((0, 60), (60, 95), (95, 107)))
    assert base["struts"].shape[1] == 56
    learn(lab, "cell", "cells", keep("base", base), keep("more", more), "--outputs", "W_max")
    true = later.pop("W_max")
    assert decades(answers(lab, "cell", keep("later", later))["W_max"], true) < 0.3


@pytest.mark.parametrize("model", ["curves", "cell"])
def test_people_read_of_the_networks_that_are_tested(model: str) -> None:
    text = (MODELS / f"{model}.toml").read_text()
    network = text[text.index("[network]") : text.index("\n[training]")]
    assert f"```toml\n{network}```" in LANGUAGE.read_text()
