"""The house: imports run downward only, and fast commands load nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from world import World

import gitdata

PACKAGE = Path(gitdata.__file__).parent
# Each room may import from rooms further down; rooms on one line do not know each other.
LEVELS = [
    {"__main__", "__init__"},
    {"cli", "api"},
    {"automation", "report"},
    {"commands"},
    {"repo"},
    {"pointers"},
    {"snapshot", "store"},
    {"data", "storage", "training"},
    {"durable", "canonical"},
    {"errors"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
HEAVY = (
    "jax",
    "flax",
    "optax",
    "dvc",
    "dvc_data",
    "dvc_objects",
    "h5py",
    "numpy",
    "git",
    "rich",
    "pydantic",
    "pyarrow",
    "PIL",
    "matplotlib",
)


def room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "gitdata"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward_only(path: Path) -> None:
    own = room(".".join(["gitdata", *path.relative_to(PACKAGE).with_suffix("").parts]))
    for name in imports(path):
        other = room(name)
        if other in LEVEL and other != own:  # else a name of the package itself, as `__version__`
            assert LEVEL[own] < LEVEL[other], f"{path.name} ({own}) imports {name}"


def test_every_room_has_its_level() -> None:
    rooms = {
        p.stem if p.suffix else p.name for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert rooms <= LEVEL.keys()


@pytest.mark.parametrize("module", ["pointer", "chain", "ledger", "choice"])
def test_the_core_does_no_input_or_output(module: str) -> None:
    tree = ast.parse((PACKAGE / "data" / f"{module}.py").read_text())
    names = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    names |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert not names & {
        "os",
        "io",
        "pathlib",
        "subprocess",
        "shutil",
        "tempfile",
        "random",
        "time",
        "datetime",
        "numpy",
    }
    assert "open" not in {
        node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def test_status_loads_nothing_heavy(world: World) -> None:
    world.clone.declare()
    world.clone.gitdata("add", "lattice", world.lattice("base", 0, 2), "-m", "base")
    world.clone.commit("model")
    world.clone.gitdata("status")  # the first time, the declaration's digests are not kept yet
    program = (
        "import sys; from gitdata import cli; code = cli._run(['status']); "
        f"print([m for m in {HEAVY!r} if m in sys.modules], code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=world.clone.path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_files_stay_readable() -> None:
    long = {p.name: n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 430}
    assert long == {}
