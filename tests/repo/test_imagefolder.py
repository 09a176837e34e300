"""Views of images: a folder of links to the cache, a folder per class or with a labels table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from world import Clone

from gitdata.commands import extend, view
from gitdata.commands.intake import Request
from gitdata.errors import Mendable


def pictures(folder: Path, start: int, classes: tuple[str, ...] = ("bright", "dark")) -> Path:
    """Two pictures of each class, named alike in all folders; every pixel is the picture's number."""
    for number, name in enumerate(classes * 2):
        path = folder / name / f"{number // len(classes)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 3), start + number, np.uint8)).save(path)
    return folder


def tabled(folder: Path, start: int, naming: str = "file") -> Path:
    """Two pictures with a table of angles and classes."""
    folder.mkdir(parents=True)
    for number in range(2):
        Image.fromarray(np.full((4, 3), start + number, np.uint8)).save(folder / f"{number}.png")
    (folder / "labels.csv").write_text(f"{naming},angle,label\n0.png,1.5,../../out\n1.png,0.1,dark\n")
    return folder


def shown(folder: Path) -> dict[str, int]:
    """What a program sees in a folder: the paths of images, and the number in each."""
    return {p.relative_to(folder).as_posix(): int(np.asarray(Image.open(p))[0, 0]) for p in folder.rglob("*.png")}


@pytest.mark.parametrize("copy", [False, True])
def test_classes_are_folders_of_links_or_files(clone: Clone, tmp_path: Path, copy: bool) -> None:
    extend.add(clone.repo, Request("d", [pictures(tmp_path / "a", 0)]))
    extend.extend(clone.repo, Request("d", [pictures(tmp_path / "b", 10)], test=str(pictures(tmp_path / "t", 20))))
    out = clone.path / "images"
    record = view.union(clone.repo, "d", out, [], copy=copy)
    assert (record["virtual"], record["rows"]) == (not copy, {"train": 8, "test": 4})
    found = shown(out / "train")
    assert sorted({path.split("/")[0] for path in found}) == ["bright", "dark"]
    assert [found[path] for path in sorted(found, key=lambda path: path.split("/")[1])] == [0, 2, 1, 3, 10, 12, 11, 13]
    assert sorted(shown(out / "test").values()) == [20, 21, 22, 23]
    assert all(path.is_symlink() != copy for path in out.rglob("*.png"))
    out.rename(out.with_name("moved"))
    view.union(clone.repo, "d@1.0.0", out, ["train"], copy=copy)
    view.union(clone.repo, "d", out, ["train"], copy=copy)  # the old one is replaced
    assert len(shown(out)) == 8
    if copy:
        again = extend.add(clone.repo, Request("again", [out.with_name("moved") / "train"]))
        assert again["rows"] == {"train": 8}


def test_what_a_table_says_of_images_stands_in_one_beside_them(clone: Clone, tmp_path: Path) -> None:
    """Labels are text that somebody wrote: no folder is made of them."""
    extend.add(clone.repo, Request("d", [tabled(tmp_path / "a", 0)]))
    extend.extend(clone.repo, Request("d", [tabled(tmp_path / "b", 10)]))
    view.union(clone.repo, "d", clone.path / "images", [])
    folder = clone.path / "images" / "train"
    found = shown(folder)
    with (folder / "labels.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [found[row["file"]] for row in table] == [0, 1, 10, 11]
    assert [(row["angle"], row["label"]) for row in table] == [("1.5", "../../out"), ("0.1", "dark")] * 2
    assert not (clone.path / "out").exists()


def test_a_blob_that_is_gone_is_an_error_for_whoever_reads(clone: Clone, tmp_path: Path) -> None:
    extend.add(clone.repo, Request("d", [pictures(tmp_path / "a", 0)]))
    out = clone.path / "images"
    done = clone.gitdata("checkout", "d", "--union", "images")
    assert done.out == "images: 4 train rows; virtual, over 4 files in the cache\n"
    link = next(out.rglob("*.png"))
    link.resolve().unlink()
    with pytest.raises(FileNotFoundError):
        Image.open(link)


def test_a_folder_of_copies_is_for_images(clone: Clone, tmp_path: Path) -> None:
    table = tmp_path / "x.csv"
    table.write_text("a\n1\n")
    extend.add(clone.repo, Request("d", [table]))
    with pytest.raises(Mendable, match="would be a folder of images, and d has other files"):
        view.union(clone.repo, "d", clone.path / "out", [], copy=True)
    assert not (clone.path / "out").exists()
    view.union(clone.repo, "d", clone.path / "out", [])
    assert list((clone.path / "out" / "train").glob("*.parquet"))
