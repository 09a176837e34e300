"""Python: datasets and models of a real repository, as docs/python.md has them; torch and grain where they are."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from world import Clone, World

import gitdata
from gitdata.data import formats
from gitdata.errors import DataUnavailable, Mendable

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
NUMBERS = ["t1", "t2", "t3", "W_max"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, plain_environment: None) -> World:
    """A dataset with two extensions, of which the model has seen the first."""
    world = World.make(tmp_path_factory.mktemp("python"))
    clone = world.clone
    clone.declare()
    clone.gitdata("add", "lattice", world.lattice("a", 0, 20), "--test", "0.2", "-m", "a")
    clone.commit("model")
    clone.push()
    world.server.wait()
    clone.gitdata("extend", "lattice", world.lattice("b", 20, 26), "--test", "0.2", "-m", "b")
    return world


@pytest.fixture
def clone(trained: World) -> Clone:
    return trained.clone


def torch_or_skip() -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0 grain (docs/python.md)")


def grain_or_skip() -> None:
    pytest.importorskip("grain", reason="grain is not installed: pip install torch==2.13.0 grain (docs/python.md)")


def test_the_page_does_what_it_says(clone: Clone) -> None:
    """All blocks in one program; those for torch and grain where these are."""
    page = re.findall(r"^```(python|sh) *(\w*)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert [needs for _, needs, _ in page if needs] == ["torch", "grain"]
    program = ["import subprocess, sys, warnings", "warnings.simplefilter('error')"]
    for language, needs, text in page:
        if needs and importlib.util.find_spec(needs) is None:
            continue
        if language == "sh":
            text = f"subprocess.run([sys.executable, '-P', '-m', *{text.split()!r}], check=True)"
        program.append(text)
    done = subprocess.run(
        [sys.executable, "-P", "-c", "\n".join(program)], cwd=clone.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[0] == "<Dataset lattice: 2 extensions; rows: train 333, test 83>"
    (clone.path / "lattice.h5").unlink()


def test_opening_a_repository_and_asking_for_numbers_loads_nothing_heavy(clone: Clone) -> None:
    program = (
        "import sys, gitdata; dataset = gitdata.Repo('.').dataset('lattice'); "
        "print(len(dataset), dataset.splits, len(dataset.ids)); "
        "print([m for m in ('numpy', 'h5py', 'pyarrow', 'jax', 'pydantic', 'dvc') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=clone.path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["416 ('train', 'test') 2", "[]"]


def test_a_dataset_is_the_union_of_its_files(trained: World) -> None:
    repo = gitdata.Repo(trained.clone.path / "datasets")
    dataset = repo.dataset("lattice")
    assert dataset.schema.field("scenario").dtype == "text"
    assert (len(dataset), list(dataset)) == (416, ["train", "test"])
    parts = [dataset[split].to_numpy() for split in ("train", "test")]
    whole = formats.read(trained.lattice("whole", 0, 26))
    found = formats.concatenate(parts)
    order, wanted = np.lexsort((found["W_max"], found["t1"])), np.lexsort((whole["W_max"], whole["t1"]))
    for name, array in whole.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name][order], array[wanted])
    assert dataset["train"] is dataset.split("train")
    older = repo.dataset("lattice@1.0.0")
    assert older.ids == dataset.ids[:1]
    np.testing.assert_array_equal(older["train"].to_numpy()["t1"], parts[0]["t1"][: older["train"].rows])


def test_only_the_split_that_is_looked_at_is_fetched_and_what_is_corrupt_is_refused(
    trained: World, tmp_path: Path
) -> None:
    trained.clone.push()
    trained.server.wait()
    clone = Clone(tmp_path / "fresh")
    trained.clone.git("clone", "--quiet", trained.server.path, clone.path)
    clone.gitdata("init")
    dataset = gitdata.Repo(clone.path).dataset("lattice")
    files = {f.split: f for e in clone.repo.work_tree_snapshot().chain("lattice").extensions.values()
             for f in clone.repo.files_of(e) if e.version == "1.0.0"}  # fmt: skip
    places = {split: clone.path / ".dvc/cache/files/md5" / f.md5[:2] / f.md5[2:] for split, f in files.items()}
    assert len(dataset["test"]) == 83
    assert not any(place.exists() for place in places.values())
    assert dataset["test"][0]["W_max"] > 0
    assert [split for split, place in places.items() if place.exists()] == ["test"]
    places["test"].chmod(0o644)
    places["test"].write_bytes(b"x" * files["test"].size)
    with pytest.raises(DataUnavailable, match="corrupt"):
        gitdata.Repo(clone.path).dataset("lattice")["test"][0]


def test_what_a_model_has_not_seen(clone: Clone) -> None:
    repo = gitdata.Repo(clone.path)
    dataset, model = repo.dataset("lattice"), repo.model("lattice@1")
    assert model.seen == set(dataset.ids[:1])
    for unseen in (model.unseen(), repo.dataset("lattice", unseen_by="lattice@1")):
        assert unseen.ids == dataset.ids[1:]
        rows = unseen["train"].rows
        np.testing.assert_array_equal(unseen["train"].to_numpy()["t1"], dataset["train"].to_numpy()["t1"][-rows:])
    seen = repo.dataset("lattice@1.0.0", unseen_by="lattice@1")
    assert (seen.ids, len(seen), seen.splits) == ((), 0, ())
    assert seen.schema == dataset.schema
    clone.declare("other")
    assert repo.dataset("lattice", unseen_by="other").ids == dataset.ids
    (clone.path / "models" / "other.toml").unlink()


def test_a_model_predicts_what_the_command_does(trained: World) -> None:
    clone, model = trained.clone, gitdata.Repo(trained.clone.path).model("lattice@1")
    rows = trained.lattice("p", 30, 31)
    rows.write_text(rows.read_text().replace(",0.385,", ",99.5,", 1))  # far from what it was trained on
    done = clone.gitdata("predict", "lattice@1", rows, "-o", clone.path.parent / "p.csv", "--json")
    assert "'t1' lies far outside what was trained on" in done.err
    assert [(far["field"], far["rows"], far["value"]) for far in done.records[0]["outside"]] == [("t1", 1, 99.5)]
    wanted, columns = formats.read(clone.path.parent / "p.csv"), formats.read(rows)
    for given in (columns, {name: array.tolist() for name, array in columns.items()}):
        found = model.predict(given)
        assert found.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array)
    assert model.lineage() == clone.gitdata("lineage", "lattice@1", "--json").records
    assert model.metrics == clone.gitdata("models", "lattice", "--json").records[0]["metrics"]
    with pytest.raises(Mendable, match="differ in length"):
        model.predict({"t1": [1, 2], "t2": [1]})


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda repo: repo.dataset("grid"), "no dataset 'grid'"),
        (lambda repo: repo.dataset("lattice@9.0.0"), "no version '9.0.0'"),
        (lambda repo: repo.dataset("lattice")["validation"], "no validation rows in lattice; splits .*: train, test"),
        (lambda repo: repo.dataset("lattice", unseen_by="grid"), "no model 'grid'"),
        (lambda repo: repo.model("grid"), "no version of a model 'grid'"),
        (lambda repo: repo.model("lattice@9"), "no version '9'"),
    ],
)
def test_what_is_not_there_is_said(clone: Clone, ask: Callable[[Any], object], message: str) -> None:
    with pytest.raises(Mendable, match=message):
        ask(gitdata.Repo(clone.path))


def test_names_of_the_package() -> None:
    assert gitdata.__all__ == ["Repo", "__version__", "open_union"]
    with pytest.raises(AttributeError):
        gitdata.Dataset  # noqa: B018


# --- torch and grain -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_torch_loads_rows_and_whole_batches(clone: Clone, workers: int) -> None:
    torch_or_skip()
    import torch
    from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

    split: Any = gitdata.Repo(clone.path).dataset("lattice")["train"].select(NUMBERS)
    wanted = split.to_numpy()
    options: dict[str, Any] = {"num_workers": workers, "multiprocessing_context": "spawn" if workers else None}
    rows = DataLoader(split, batch_size=50, **options)
    sampler = BatchSampler(SequentialSampler(split), 50, drop_last=False)
    batches = DataLoader(split, sampler=sampler, batch_size=None, **options)
    for loader in (rows, batches):
        found = list(loader)
        assert [len(batch["t1"]) for batch in found] == [50] * 6 + [33]
        for name, array in wanted.items():
            np.testing.assert_array_equal(torch.cat([batch[name] for batch in found]).numpy(), array)
    (batch,) = split.batches(len(split))
    assert torch.as_tensor(batch["t1"]).data_ptr() == wanted["t1"].ctypes.data  # not copied


def test_torch_shuffles_each_row_once(clone: Clone) -> None:
    torch_or_skip()
    import torch
    from torch.utils.data import DataLoader

    split: Any = gitdata.Repo(clone.path).dataset("lattice")["train"].select(["W_max"])
    torch.manual_seed(0)
    found = torch.cat([batch["W_max"] for batch in DataLoader(split, batch_size=32, shuffle=True)])
    np.testing.assert_array_equal(np.sort(found.numpy()), np.sort(split.to_numpy()["W_max"]))


def test_grain_reads_at_random_and_in_threads(clone: Clone) -> None:
    grain_or_skip()
    import grain

    split = gitdata.Repo(clone.path).dataset("lattice")["train"].select(NUMBERS)
    shuffled = grain.MapDataset.source(split).seed(1).shuffle().batch(48)
    found = [dict(batch) for batch in shuffled.to_iter_dataset(grain.ReadOptions(num_threads=8))]
    assert sum(len(batch["t1"]) for batch in found) == len(split)
    order = np.argsort(np.concatenate([batch["W_max"] for batch in found]), kind="stable")
    t1 = np.concatenate([batch["t1"] for batch in found])[order]
    wanted = split.to_numpy()
    assert sorted(t1.tolist()) == sorted(wanted["t1"].tolist())
    assert isinstance(split, grain.sources.RandomAccessDataSource)
