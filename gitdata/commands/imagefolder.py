"""Image folders: the images of a union as links to the cache, for programs that read folders of images.

Where every image came in the folder of its class, the view has these folders; else one folder holds all of them, and
`labels.csv` beside them what is known of each. Names begin with the place of the image in the union.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitdata import durable
from gitdata.commands.union import Part

if TYPE_CHECKING:
    from gitdata.data.formats.piece import Piece

Images = Mapping[str, Sequence[tuple[Part, "Piece"]]]


@dataclass(frozen=True, slots=True)
class Placed:
    """An image of a view: its `name` there, the `blob` it shows, and what is `known` of it besides its class."""

    name: str
    blob: Path
    known: Mapping[str, Any]


def are_images(pieces: Sequence[Piece]) -> bool:
    from gitdata.data.formats import imagefile

    return all(piece.suffix in imagefile.IMAGE.suffixes for piece in pieces)


def placed(images: Images) -> dict[str, list[Placed]]:
    """Where each image of each split stands."""
    by_class = all(_is_classed(part, piece) for split in images.values() for part, piece in split)
    return {split: list(_placed(own, by_class=by_class)) for split, own in images.items()}


def write(folder: Path, images: Sequence[Placed], *, copy: bool) -> None:
    """Links, relative so that folder and repository may move together, or with `copy` files; and the labels table."""
    for image in images:
        target = folder / image.name
        if copy:
            with durable.replacing(target) as file, image.blob.open("rb") as source:
                shutil.copyfileobj(source, file)
        else:
            durable.link(os.path.relpath(image.blob, target.parent), target)
    if any(image.known for image in images):
        durable.write(folder / "labels.csv", _labels_table(images).encode())


def _is_classed(part: Part, piece: Piece) -> bool:
    """Whether all that is known of an image is the folder it came in; that is a path which a pointer may hold."""
    from gitdata.data.formats import folder

    return piece.beside.keys() == {folder.LABEL} and piece.beside[folder.LABEL][0] == _class_of(part)


def _class_of(part: Part) -> str:
    return "/".join(part.file.path.split("/")[1:-1])


def _placed(images: Sequence[tuple[Part, Piece]], *, by_class: bool) -> Iterator[Placed]:
    for number, (part, piece) in enumerate(images):
        name = f"{number:05d}-{part.file.path.rpartition('/')[2]}"
        if by_class:
            yield Placed(f"{_class_of(part)}/{name}", piece.path, {})
        else:
            yield Placed(name, piece.path, {field: column[0] for field, column in piece.beside.items()})


def _labels_table(images: Sequence[Placed]) -> str:
    """As `labels.csv` of a folder that is handed in: its first column of text names the files."""
    fields = sorted({field for image in images for field in image.known})
    naming = "file"
    while naming in fields:
        naming += "_"
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([naming, *fields])
    table.writerows([image.name, *(image.known.get(field, "") for field in fields)] for image in images)
    return text.getvalue()
