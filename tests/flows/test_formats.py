"""Formats end to end: one dataset in several of them, pictures, and a plug-in, each trained on as it was pushed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from world import Clone, World, run

from gitdata.commands.rowsource import RowSource, count
from gitdata.data import formats, rows

MODEL = """
[data]
dataset = "{dataset}"
outputs = ["{output}"]

[network]
layers = [{{ dense = 8 }}, "relu", {{ dense = "outputs" }}]

[training]
epochs = 2
loss = "{loss}"
"""


def columns(start: int, rows: int = 12) -> dict[str, np.ndarray]:
    numbers = np.arange(start, start + rows, dtype=np.float64)
    kinds = np.array(["low", "high", "low"], object)[numbers.astype(int) % 3]
    return {"a": numbers, "kind": kinds, "y": numbers * 2 + 1}


def write(path: Path, table: dict[str, np.ndarray]) -> Path:
    """The table in the format that the name says."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".csv":
        lines = [",".join(map(str, line)) for line in zip(*table.values(), strict=True)]
        path.write_text("\n".join([",".join(table), *lines]) + "\n")
    elif path.suffix == ".parquet":
        whole = {"a": pa.array(table["a"].astype(int)), "kind": pa.array(table["kind"].tolist()).dictionary_encode()}
        parquet.write_table(pa.table(whole | {"y": pa.array(table["y"], pa.float32())}), path)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["a"], file["kind"] = table["a"].astype("i2"), table["kind"].tolist()
            file["y"] = table["y"]
            file["y"].attrs["units"] = "mm"
    elif path.suffix == ".npz":
        np.savez(path, a=table["a"], kind=table["kind"].astype("U"), y=table["y"])
    elif path.suffix == ".jsonl":
        rows = zip(*(column.tolist() for column in table.values()), strict=True)
        path.write_text("".join(json.dumps(dict(zip(table, row, strict=True))) + "\n" for row in rows))
    return path


def champion(world: World, model: str) -> dict[str, object]:
    (record,) = [r for r in world.server.gitdata("models", model, "--json").records if r["champion"]]
    return record


def test_one_dataset_in_five_formats_trains(world: World) -> None:
    clone, incoming = world.clone, world.root / "incoming"
    clone.declare("m", MODEL.format(dataset="d", output="y", loss="mae"))
    clone.gitdata("add", "d", write(incoming / "base.csv", columns(0)), "--test", "0.2", "--outputs", "y", "-m", "base")
    clone.commit("model")
    for number, name in enumerate(("more.parquet", "more.h5", "more.npz", "more.jsonl"), 1):
        clone.gitdata("extend", "d", write(incoming / name, columns(12 * number)), "--test", "0.2", "-m", name)
    clone.push()
    world.server.wait()
    assert len(champion(world, "m")["added"]) == 5  # type: ignore[arg-type]
    snapshot = clone.repo.work_tree_snapshot()
    chain = snapshot.chain("d")
    source = RowSource(clone.repo, (), ("y",))
    found = formats.concatenate([source.rows(source.parts(chain, chain.live, s)) for s in ("train", "test")])
    whole = formats.concatenate([columns(12 * n) for n in range(5)])
    assert sorted(rows.digests(found)[:, 0]) == sorted(rows.digests(whole)[:, 0])
    head = clone.gitdata("show", "d", "--json").records[0]
    assert {f["name"]: f.get("unit") for f in head["fields"]} == {"a": None, "kind": None, "y": "mm"}
    assert next(f for f in head["fields"] if f["name"] == "kind")["categories"] == ["low", "high"]
    again = clone.gitdata("extend", "d", write(incoming / "again.npz", columns(12)), "--dedupe", code=2)
    assert "there is nothing to add" in again.err


def pictures(folder: Path, start: int, *, table: bool) -> Path:
    """Twelve pictures of two classes, in a folder for each or with a labels table."""
    names = []
    for number in range(start, start + 12):
        kind = "dark" if number % 2 else "bright"
        path = folder / (f"{number:03}.png" if table else f"{kind}/{number:03}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((6, 5), number, np.uint8) + (0 if kind == "dark" else 128)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        names.append(f"{kind},{path.name}")  # `label` is known to be a field, so `file` names the files
    if table:
        (folder / "labels.csv").write_text("\n".join(["label,file", *names]) + "\n")
    return folder


def test_pictures_in_folders_and_with_a_table_are_one_dataset(world: World) -> None:
    clone, incoming = world.clone, world.root / "incoming"
    network = MODEL.replace("layers = [", 'layers = ["flatten", ')
    clone.declare("m", network.format(dataset="pics", output="label", loss="cross_entropy"))
    first = pictures(incoming / "first", 0, table=False)
    made = clone.gitdata("add", "pics", first, "--test", "0.3", "--outputs", "label", "-m", "first", "--json").records[
        0
    ]
    assert sum(made["rows"].values()) == 12
    clone.commit("model")
    second = pictures(incoming / "second", 12, table=True)
    made = clone.gitdata("extend", "pics", second, "--test", "0.3", "-m", "second", "--json").records[0]
    assert sum(made["rows"].values()) == 12
    assert made["rows"]["test"]
    again = pictures(incoming / "again", 12, table=False)  # the same pictures, elsewhere: their rows are known
    assert "there is nothing to add" in clone.gitdata("extend", "pics", again, "--dedupe", code=2).err
    clone.push()
    world.server.wait()
    assert len(champion(world, "m")["added"]) == 2  # type: ignore[arg-type]
    other = world.another_clone()
    other.gitdata("pull", "pics")
    delivered = sorted(p.relative_to(p.parents[2]).as_posix() for p in (other.path / "datasets").rglob("first/*/*.png"))
    assert len(delivered) == 12
    assert {path.split("/")[1] for path in delivered} == {"bright", "dark"}
    other.gitdata("predict", "m", again, "-o", "p.csv")
    predicted = formats.read(other.path / "p.csv")["label"]
    assert len(predicted) == 12
    assert set(predicted) <= {"bright", "dark"}
    source = RowSource(other.repo, (), ("label",))
    chain = other.repo.work_tree_snapshot().chain("pics")
    found = formats.concatenate([source.rows(source.parts(chain, chain.live, s)) for s in ("train", "test")])
    assert count(found) == 24
    array = np.concatenate([formats.read(incoming / name)["image"] for name in ("first", "again")])
    labels = np.concatenate([formats.read(incoming / name)["label"] for name in ("first", "again")])
    np.savez(incoming / "whole.npz", image=array, label=labels.astype("U"))
    whole = formats.read(incoming / "whole.npz")  # the same rows in another format have the same digests
    assert sorted(rows.digests(found)[:, 0]) == sorted(rows.digests(whole)[:, 0])


def test_a_folder_of_hundreds_of_files_holds_none_of_them_open(clone: Clone, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(130):
        (folder / f"{number:03}.csv").write_text(f"a\n{number}\n")
    command = 'ulimit -n 96; exec "$0" -P -m gitdata add d "$1" --test 0.2 --json'
    done = run("sh", "-c", command, sys.executable, folder, cwd=clone.path)
    assert done.code == 0, done
    assert sum(done.records[0]["rows"].values()) == 130


PLUG_IN = """
import numpy as np
from gitdata.data.formats.format import Format, table_of

def open_table(path, schema):
    return table_of(path, {"a": np.array([float(line) for line in path.read_text().split()])})

def subset(source, keep, target):
    lines = source.read_text().split()
    target.write_text("".join(f"{line}\\n" for line, wanted in zip(lines, keep) if wanted))

NUMBERS = Format("numbers", (".numbers",), open_table, subset, has_dtypes=False)
"""


def distribution(folder: Path, name: str, entry: str, module: str) -> Path:
    """A package as an installer leaves it: a module, and a dist-info folder with an entry point."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{name}.py").write_text(module)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[gitdata.formats]\n{name} = {entry}\n")
    return folder


def test_a_plug_in_brings_a_format(clone: Clone, tmp_path: Path) -> None:
    installed = {
        "PYTHONPATH": str(distribution(tmp_path / "installed", "plain_numbers", "plain_numbers:NUMBERS", PLUG_IN))
    }
    data = tmp_path / "x.numbers"
    data.write_text("1\n2\n3\n4\n5\n6\n7\n8\n")
    made = clone.gitdata("add", "d", data, "--test", "0.4", "-m", "base", "--json", env=installed).records[0]
    assert sum(made["rows"].values()) == 8
    assert made["rows"]["test"]
    more = tmp_path / "more.csv"
    more.write_text("a\n8\n9\n")
    assert clone.gitdata("extend", "d", more, "--dedupe", "--json").records[0]["rows"] == {"train": 1}
    data.write_text("10\n")
    assert "no format that gitdata reads" in clone.gitdata("extend", "d", data, code=2).err  # not installed here
    assert clone.gitdata("extend", "d", data, env=installed).code == 0


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("plain_numbers:NOTHING", "cannot be loaded"),
        ("nowhere:NUMBERS", "cannot be loaded"),
        ("plain_numbers:open_table", "is no Format"),
    ],
)
def test_a_plug_in_that_is_broken_is_named(clone: Clone, tmp_path: Path, entry: str, says: str) -> None:
    installed = {"PYTHONPATH": str(distribution(tmp_path / "installed", "plain_numbers", entry, PLUG_IN))}
    data = tmp_path / "x.numbers"
    data.write_text("1\n2\n")
    done = clone.gitdata("add", "d", data, env=installed, code=2)
    assert says in done.err
    assert "'plain_numbers'" in done.err


def test_nothing_in_a_repository_is_a_plug_in(clone: Clone, tmp_path: Path) -> None:
    """A distribution in the work tree is no package of this machine, and no plug-in takes the place of a format."""
    trap = "from pathlib import Path\nPath('executed').touch()\n" + PLUG_IN
    distribution(clone.path, "plain_numbers", "plain_numbers:NUMBERS", trap)
    data = clone.path / "x.numbers"
    data.write_text("1\n2\n")
    assert clone.gitdata("add", "d", data, "--json").records[0]["rows"] == {"train": 0}
    assert not (clone.path / "executed").exists()
    taken = PLUG_IN.replace('".numbers"', '".csv"')
    installed = {"PYTHONPATH": str(distribution(tmp_path / "installed", "taken", "taken:NUMBERS", taken))}
    table = tmp_path / "x.csv"
    table.write_text("a,b\n1,2\n")
    assert clone.gitdata("add", "e", table, "--json", env=installed).records[0]["rows"] == {"train": 1}
