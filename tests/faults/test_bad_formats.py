"""Bad files of every format: one clear message, exit code 2, and nothing half-written."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from world import Clone, Done, World, fingerprint

Call = Callable[..., Done]
Write = Callable[[str, "str | bytes"], Path]
HEADER = "{'descr': %s, 'fortran_order': False, 'shape': %s, }"


def refused(done: Done, *says: str) -> None:
    assert done.code == 2, done
    assert done.out == ""
    assert done.err.startswith("gitdata: ")
    assert "Traceback" not in done.err
    for word in says:
        assert word in done.err, (word, done.err)


def state(clone: Clone) -> tuple[object, ...]:
    return fingerprint(clone.path / "datasets", clone.path / ".dvc"), clone.git("status", "--porcelain")


def npy(descr: str, shape: str, content: bytes = b"", version: int = 1) -> bytes:
    """An NPY file with any header."""
    header = (HEADER % (descr, shape)).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    width = 2 if version == 1 else 4
    return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(width, "little") + header + content


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def saved(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def table(**columns: object) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.table(columns), out)
    return out.getvalue()


def ipc(**columns: object) -> bytes:
    out = io.BytesIO()
    content = pa.table(columns)
    with pa.ipc.new_file(out, content.schema) as writer:
        writer.write_table(content)
    return out.getvalue()


class Trap:
    """Unpickling one would leave a mark."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("unpickled"),))


NUMBERS = np.arange(4.0)
TWICE = pa.table([pa.array([1.0]), pa.array([2.0])], names=["a", "a"])


def _twice() -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, TWICE.schema) as writer:
        writer.write_table(TWICE)
    return out.getvalue()


BAD: dict[str, tuple[str, bytes, str]] = {
    "pickled array": ("x.npy", saved(np.array([Trap(), 1], object)), "unpickles nothing"),
    "pickle in place of an array": ("x.npy", pickle.dumps(Trap()), "no array of NumPy"),
    "pickled member": ("x.npz", zipped(a=saved(np.array([Trap()], object))), "unpickles nothing"),
    "objects in a structure": ("x.npy", npy("[('a', '<f8'), ('b', '|O')]", "(2,)", b"x" * 32), "unpickles nothing"),
    "huge array": ("x.npy", npy("'<f8'", "(10000000000000,)"), "more than this machine can hold"),
    "huge member": ("x.npz", zipped(a=npy("'<f8'", "(10000000000000,)")), "more than this machine can hold"),
    "array cut off": ("x.npy", saved(NUMBERS)[:-3], "it was cut off"),
    "shape with a lie": ("x.npy", npy("'<f8'", "(-3,)", b"x" * 24), "header that cannot be read"),
    "header that is code": ("x.npy", npy("__import__('os').getpid()", "(1,)"), "header that cannot be read"),
    "complex": ("x.npy", saved(NUMBERS.astype(complex)), "no number and no text"),
    "date of NumPy": ("x.npy", saved(np.array(["2020-01-01"], "M8[D]")), "no number and no text"),
    "scalar": ("x.npy", saved(np.float64(1.0)), "single value"),
    "lengths": ("x.npz", zipped(a=saved(NUMBERS), b=saved(NUMBERS[:2])), "differ in length"),
    "empty archive": ("x.npz", zipped(), "no array"),
    "text in an archive": ("x.npz", zipped(a=b"hello"), "no array of NumPy"),
    "archive cut off": ("x.npz", zipped(a=saved(NUMBERS))[:-30], "damaged NumPy file"),
    "bytes": ("x.parquet", table(a=pa.array([b"x"])), "no number and no text"),
    "decimal": ("x.parquet", table(a=pa.array([1], pa.decimal128(5, 2))), "no number and no text"),
    "nested": ("x.parquet", table(a=[{"b": 1}]), "is nested"),
    "list": ("x.parquet", table(a=[[1, 2], [3]]), "is nested"),
    "null truth value": ("x.parquet", table(a=[True, None]), "truth values that are null"),
    "Parquet cut off": ("x.parquet", table(a=NUMBERS)[:-9], "no Parquet file"),
    "CSV as Parquet": ("x.parquet", b"a,b\n1,2\n", "no Parquet file"),
    "no rows": ("x.parquet", table(a=pa.array([], pa.float64())), "has no rows"),
    "Arrow cut off": ("x.arrow", ipc(a=NUMBERS)[:-9], "no Arrow file"),
    "CSV as Arrow": ("x.arrow", b"a,b\n1,2\n", "no Arrow file"),
    "Feather of version 1": ("x.feather", b"FEA1" + b"\0" * 64, "version 1"),
    "two columns of one name": ("x.arrow", _twice(), "two columns named 'a'"),
    "nested JSON": ("x.jsonl", b'{"a":{"b":1}}\n', "is nested"),
    "list in JSON": ("x.jsonl", b'{"a":[1]}\n', "is nested"),
    "JSON cut off": ("x.jsonl", b'{"a":1}\n{"a":', "row 2"),
    "mixed kinds in JSON": ("x.jsonl", b'{"a":1}\n{"a":"x"}\n', "changed from number to string in row 2"),
    "JSON that is cut": ("x.jsonl", b'{"a":1}\n{"a":\n', "Invalid value in row 2."),
    "key twice in JSON": ("x.jsonl", b'{"a":1,"a":2}\n', "specified twice"),
    "a list of objects": ("x.jsonl", b'[{"a":1}]\n', "not well-formed JSON Lines"),
    "NUL in JSON": ("x.jsonl", b'{"a":1}\n\0', "NUL bytes (line 2)"),
    "objects without keys": ("x.jsonl", b"{}\n{}\n", "names no field"),
    "mixed encodings": ("x.csv", "a,t\n1,ä\n".encode() + "2,ä\n".encode("latin-1"), "not UTF-8 text in line 3"),
    "mixed encodings in JSON": ("x.jsonl", '{"a":"ä"}\n'.encode() + '{"a":"ä"}'.encode("latin-1"), "in line 2"),
    "UTF-16": ("x.csv", "a,b\n1,2\n".encode("utf-16"), "is UTF-16"),
    "late NUL": ("x.csv", b"a,b\n" + b"1,2\n" * 300_000 + b"\0,2\n", "NUL bytes (line 300002)"),
    "fewer names than fields": ("x.csv", b"a,b\n1,2,3\n4,5,6\n", "names 2 columns, its first row has 3 fields"),
    "text as image": ("x.png", b"hello", "is no image"),
    "TIFF cut off": ("x.tif", b"II*\0\x08\0\0\0", "x.tif"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file(clone: Clone, write: Write, call: Call, name: str) -> None:
    file, content, says = BAD[name]
    before = state(clone)
    refused(call(clone.path, "add", "d", write(file, content)), file, says)
    assert state(clone) == before
    assert not (clone.path / "unpickled").exists()


def test_a_file_cut_or_changed_anywhere_is_read_or_refused(clone: Clone, write: Write, call: Call) -> None:
    """Whatever is cut off or flipped: never a crash, and never a row that was not checked by its format."""
    pixels = io.BytesIO()
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 30) % 250).save(pixels, "PNG")
    columns = {"a": NUMBERS, "t": ["x", "y", "z", "ü"]}
    files = {
        "x.npz": zipped(a=saved(NUMBERS), t=saved(np.array(columns["t"]))), "x.npy": saved(NUMBERS),
        "x.parquet": table(**columns), "x.arrow": ipc(**columns), "x.png": pixels.getvalue(),
        "x.jsonl": b"".join(json.dumps({"a": n, "t": "x"}).encode() + b"\n" for n in range(4)),
    }  # fmt: skip
    for name, content in files.items():
        for place in range(1, len(content), max(1, len(content) // 5)):
            flipped = content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :]
            for damaged in (content[:place], flipped):
                done = call(clone.path, "add", f"d-{place}-{len(damaged)}-{name}", write(name, damaged), "--json")
                assert done.code in (0, 2), done
                assert "Traceback" not in done.err


def test_bombs(clone: Clone, tmp_path: Path, write: Write, call: Call) -> None:
    """A few kilobytes that stand for more than this machine has are refused before they are unpacked."""
    parquet_bomb = tmp_path / "bomb.parquet"
    with parquet.ParquetWriter(parquet_bomb, pa.schema([("t", pa.string())]), compression="zstd") as writer:
        writer.write_table(pa.table({"t": ["x" * 100_000] * 2000}))
    assert parquet_bomb.stat().st_size < 50_000
    done = call(clone.path, "add", "texts", parquet_bomb)  # 200 MB of text: one text, two thousand times the same
    assert done.code == 0, done
    member = npy("'<f8'", "(10000000000000,)", b"\0" * 4096)
    refused(call(clone.path, "add", "d", write("bomb.npz", zipped(a=member))), "more than this machine can hold")
    with h5py.File(tmp_path / "sum.h5", "w") as file:
        for n in range(64):  # each of them would fit, together they do not
            file.create_dataset(f"x{n}", (10**11 // 8,), float, chunks=(10**5,), compression="gzip")
    refused(call(clone.path, "add", "d", tmp_path / "sum.h5"), "more than this machine can hold")
    image = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(image, "PNG")
    assert len(image.getvalue()) < 100_000
    refused(call(clone.path, "add", "d", write("bomb.png", image.getvalue())), "too large")


def test_values_that_do_not_fit_the_dtype_of_the_dataset(clone: Clone, write: Write, call: Call) -> None:
    small = {"n": saved(np.arange(3, dtype=np.int8)), "f": saved(np.arange(3, dtype=np.float32))}
    assert call(clone.path, "add", "d", write("base.npz", zipped(**small)), "-m", "base").code == 0
    before = state(clone)
    cases = {
        "x.csv": (b"n,f\n1,1\n300,2\n", "int8 in the dataset; 300.0 in row 2 is not"),
        "y.csv": (b"n,f\n1,1e300\n", "float32 in the dataset; 1e+300 in row 1 is not"),
        "z.csv": (b"n,f\n1,1\n1.5,2\n", "int8 in the dataset; 1.5 in row 2 is not"),
        "n.csv": (b"n,f\n1,1\n,2\n", "int8 in the dataset; nan in row 2 is not"),
        "x.jsonl": (b'{"n":1,"f":1}\n{"n":-129,"f":1}\n', "int8 in the dataset; -129.0 in row 2 is not"),
        "x.parquet": (table(n=[1, 128], f=pa.array([1, 1], pa.float32())), "128 in row 2 is not"),
        "y.parquet": (table(n=[1, 2], f=[0.1, 0.2]), "field 'f' is float64, not float32"),
        "x.npz": (zipped(n=saved(np.ones(3)), f=small["f"]), "field 'n' is float64, not int8"),
    }
    for name, (content, says) in cases.items():
        refused(call(clone.path, "extend", "d", write(name, content)), name, says)
    assert state(clone) == before
    fitting = table(n=[100, -128], f=pa.array([1, 2], pa.int16()))
    assert call(clone.path, "extend", "d", write("fits.parquet", fitting)).code == 0


def test_a_large_integer_is_never_rounded(clone: Clone, write: Write, call: Call) -> None:
    assert call(clone.path, "add", "d", write("base.csv", "n\n1.5\n2.5\n"), "-m", "base").code == 0
    for value in (2**53 + 1, 2**63 - 1):
        content = table(n=[1, value])
        refused(call(clone.path, "extend", "d", write("x.parquet", content)), f"{value} in row 2 is not")
    unsigned = zipped(n=saved(np.array([2**64 - 1], np.uint64)))
    refused(call(clone.path, "extend", "d", write("x.npz", unsigned)), "in row 1 is not")
    exact = zipped(n=saved(np.array([2**63], np.uint64)))
    assert call(clone.path, "extend", "d", write("y.npz", exact)).code == 0


def test_text_with_nul_is_refused_wherever_it_comes_from(clone: Clone, write: Write, call: Call) -> None:
    """HDF5 and CSV have no place for it: no view could show the dataset."""
    texts = ["a", "b\0c"]
    cases = {
        "x.parquet": (table(t=texts), "has a NUL character in row 2"),
        "coded.parquet": (table(t=pa.array(texts).dictionary_encode()), "says of 't' has a NUL character"),
        "named.parquet": (table(**{"a\0b": [1]}), "says of 'a\\0b' has a NUL"),
        "x.jsonl": (b'{"t":"a"}\n{"t":"b\\u0000c"}\n', "NUL character in row 2"),
        "x.npz": (zipped(t=saved(np.array([["a", "b"], texts]))), "NUL character in row 2"),
    }
    before = state(clone)
    for name, (content, says) in cases.items():
        refused(call(clone.path, "add", "d", write(name, content)), says)
    assert state(clone) == before


def test_a_changed_unit_is_refused_and_reordered_columns_are_said(
    clone: Clone, tmp_path: Path, write: Write, call: Call
) -> None:
    """The accident of crash_tubes: the same numbers, a thousand times larger."""
    for name, unit in (("base.h5", "kN"), ("more.h5", "N"), ("none.h5", "")):
        with h5py.File(tmp_path / name, "w") as file:
            file["a"], file["force"] = np.arange(3.0), np.arange(3.0) * len(name)
            if unit:
                file["force"].attrs["units"] = unit
    assert call(clone.path, "add", "d", tmp_path / "base.h5", "-m", "base").code == 0
    refused(call(clone.path, "extend", "d", tmp_path / "more.h5"), "field 'force' is in N, not in kN")
    assert call(clone.path, "extend", "d", tmp_path / "none.h5").code == 0
    shown = call(clone.path, "extend", "d", write("a.csv", "a,force\n7,8\n")).out
    assert "another order" not in shown
    shown = call(clone.path, "extend", "d", write("b.csv", "force,a\n7,9\n")).out
    assert "The columns of 'b.csv' stand in another order; fields go by name." in shown
    assert "force (float64, kN)" in call(clone.path, "show", "d").out


def test_opaque_files_are_kept_and_nothing_more(world: World, clone: Clone, write: Write, call: Call) -> None:
    mesh, data = write("part.stl", "solid part"), write("x.csv", "a\n1\n2\n")
    made = call(clone.path, "add", "meshes", mesh, "-m", "mesh")
    assert made.code == 0
    assert "No format is known" in made.out
    assert call(clone.path, "add", "rows", data, "-m", "rows").code == 0
    before = state(clone)
    refused(call(clone.path, "extend", "meshes", data), "'meshes' opaque files")
    refused(call(clone.path, "extend", "rows", mesh), "no format that gitdata reads", "'rows' holds rows")
    refused(call(clone.path, "add", "both", mesh, data), "a dataset has one or the other")
    refused(call(clone.path, "extend", "meshes", write("b.stl", "b"), "--test", "0.2"), "kept as it is")
    refused(call(clone.path, "extend", "meshes", write("b.stl", "b"), "--dedupe"), "kept as it is")
    refused(call(clone.path, "add", "m", write("b.stl", "b"), "--outputs", "y"), "kept as it is")
    refused(call(clone.path, "add", "m", write("e.stl", "")), "is empty")
    refused(call(clone.path, "extend", "meshes", mesh), "already in 'meshes'")
    assert state(clone) == before
    tested = call(clone.path, "extend", "meshes", write("c.stl", "c"), "--test", write("t.stl", "t"), "-m", "c")
    assert tested.code == 0
    clone.commit("settings")
    clone.push()
    other = world.another_clone()
    other.gitdata("pull")
    delivered = {p.name: p.read_text() for p in (other.path / "datasets").rglob("*.stl")}
    assert delivered == {"part.stl": "solid part", "c.stl": "c", "t.stl": "t"}
    assert "opaque files, kept as they are" in other.gitdata("show", "meshes").out
    assert other.gitdata("verify").code == 0


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no folder of data files"),
        ({"a/x.png": (4, 4), "b/y.png": (5, 4)}, "of shape 5×4 per row, not uint8 of shape 4×4"),
        ({"a/x.png": (4, 4), "b/y.png": (4, 4, 3)}, "of shape 4×4×3 per row"),
        ({"a/x.png": (4, 4), "y.png": (4, 4)}, "field 'label' is missing"),
        ({"a/x.png": (4, 4), "a/y.png": b"hello"}, "y.png' is no image"),
        ({"a/x.png": (4, 4), "README.txt": b"hello"}, "no format that gitdata reads"),
        ({"x.png": (4, 4), "labels.csv": b"file,y\nx.png,1\ny.png,2\n"}, "names 'y.png', which is not in the folder"),
        ({"x.png": (4, 4), "y.png": (4, 4), "labels.csv": b"file,y\nx.png,1\n"}, "does not name 'y.png'"),
        ({"x.png": (4, 4), "labels.csv": b"file,y\nx.png,1\nx.png,2\n"}, "names 'x.png' twice"),
        ({"x.png": (4, 4), "labels.csv": b"n,y\n1,1\n"}, "no column of text"),
        ({"x.png": (4, 4), "labels.csv": b"file,image\nx.png,1\n"}, "has a field 'image' itself"),
    ],
)
def test_a_bad_folder(
    clone: Clone, tmp_path: Path, call: Call, files: dict[str, tuple[int, ...] | bytes], says: str
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            Image.fromarray(np.zeros(content, np.uint8)).save(folder / name)
    before = state(clone)
    refused(call(clone.path, "add", "d", folder), says)
    assert state(clone) == before


def test_a_folder_leads_nowhere_else(clone: Clone, tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "secret.png")
    (folder / "x.png").symlink_to(tmp_path / "secret.png")
    refused(call(clone.path, "add", "d", folder), "is a link")
    refused(call(clone.path, "add", "d", clone.path), "no folder of data files")
