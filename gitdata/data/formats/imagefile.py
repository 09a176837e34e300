"""Images: a file is one row with the field `image`, its pixels as they are stored.

Grey images have the shape (height, width), colours (height, width, channels); a palette stands for its colours.
Nothing is rotated or rescaled. An image that declares more pixels than Pillow thinks sane is refused unread.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gitdata.data.formats.format import Columns, Format, Table, first_line
from gitdata.data.schema import Field, Schema
from gitdata.errors import Mendable

IMAGE_FIELD = "image"
_KINDS = ("PNG", "JPEG", "BMP", "PPM", "TIFF")  # no other decoder ever sees a file
_MODES = {  # of Pillow: dtype and channels
    "1": ("bool", ()), "L": ("uint8", ()), "LA": ("uint8", (2,)), "RGB": ("uint8", (3,)), "RGBA": ("uint8", (4,)),
    "CMYK": ("uint8", (4,)), "YCbCr": ("uint8", (3,)), "LAB": ("uint8", (3,)), "HSV": ("uint8", (3,)),
    "I;16": ("uint16", ()), "I;16L": ("uint16", ()), "I;16B": ("uint16", ()), "I": ("int32", ()), "F": ("float32", ()),
}  # fmt: skip


def open_table(path: Path, schema: Schema) -> Table:
    """The one row of an image; of its pixels none is decoded yet."""
    with _open(path) as image:
        field = _field(image, path)
    return Table(path, Schema((field,)), 1, partial(_scan, path))


def _field(image: Any, path: Path) -> Field:
    mode = _mode(image)
    if mode not in _MODES:
        raise Mendable(f"The image '{path}' has the mode {mode}, which is not supported.", "Convert it.")
    if getattr(image, "n_frames", 1) != 1:
        raise Mendable(f"The image '{path}' has {image.n_frames} frames.", "Store each as an image.")
    dtype, channels = _MODES[mode]
    return Field(IMAGE_FIELD, dtype, (image.height, image.width, *channels))


def _mode(image: Any) -> str:
    """The mode of the pixels that it gives."""
    if image.mode in ("P", "PA"):
        return "RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB"
    return str(image.mode)


def _scan(path: Path, rows_at_once: int) -> Iterator[Columns]:
    with _open(path) as image:
        field = _field(image, path)
        pixels = np.asarray(image if image.mode == _mode(image) else image.convert(_mode(image)))
    yield {IMAGE_FIELD: np.ascontiguousarray(pixels, field.dtype).reshape(1, *field.shape)}


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata; the pixels decode, or they do not
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=_KINDS) as image:
                yield image
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise Mendable(f"The image '{path}' is too large: {first_line(error)}.", "Cut it into tiles.") from error
        except UnidentifiedImageError as error:
            raise Mendable(f"'{path}' is no image ({', '.join(_KINDS)}).", "Check that it was copied whole.") from error
        except (OSError, ValueError, SyntaxError, EOFError, IndexError, MemoryError) as error:
            raise Mendable(
                f"The image '{path}' is damaged: {first_line(error)}.", "Check that it was written and copied whole."
            ) from error


def subset(source: Path, keep: NDArray[np.bool_], target: Path) -> None:
    """The file as it is: it has one row."""
    shutil.copyfile(source, target)


IMAGE = Format("images", (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"), open_table, subset)
