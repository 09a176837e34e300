"""The README: its commands do what it says, on real rows, in a person's shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from world import Clone, Server

from gitdata.automation.demo import SOURCE

ROOT = Path(__file__).resolve().parents[2]


def blocks(page: str) -> list[str]:
    """The shell blocks of a page."""
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def test_what_stands_under_use_it(tmp_path: Path) -> None:
    header, *lines = SOURCE.read_text().splitlines()
    for name, first, last in (("runs", 0, 800), ("more", 800, 1000), ("new_designs", 1000, 1010)):
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *lines[first:last]]) + "\n")
    begin, grow, look = blocks("README.md")[-3:]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    folder, server = tmp_path, Server(tmp_path / "server.git")
    for block in (begin, grow, look):
        done = subprocess.run(
            ["sh", "-e", "-c", block], cwd=folder, capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, (block, done)
        folder = tmp_path / "work"
        server.wait()
    assert [v["number"] for v in server.ledger()] == [1, 2]
    assert len((folder / "predicted.csv").read_text().splitlines()) == 11
    assert Clone(folder).git("status", "--porcelain") == "?? predicted.csv"


def test_the_two_commands_of_the_readme_are_those_of_ci() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    for command in (
        "pip install --quiet --disable-pip-version-check .",
        "gitdata demo",
        "'.[dev]'",
        "python -m pytest",
    ):
        assert command in ci
    page = (ROOT / "README.md").read_text()
    assert "python -m pip install . && gitdata demo" in page
    assert "python -m pip install '.[dev]' && python -m pytest" in page


def test_every_page_that_is_linked_exists() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links {target}"


def test_the_model_file_of_the_documentation_is_valid() -> None:
    from gitdata.training.declaration import parse
    from gitdata.training.variants import joined

    page = (ROOT / "docs" / "model-file.md").read_text()
    text, wide = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert parse(text, "lattice").deployment.tolerance == 0.02
    found = parse(joined("wide", {"lattice": text, "wide": wide}), "wide")
    assert (found.training.epochs, found.training.optimizer.b1) == (400, 0.9)


def test_every_term_of_training_is_documented_with_its_defaults() -> None:
    from gitdata.training.settings import EarlyStopping, Loss, Metric, Optimizer, Schedule

    page = (ROOT / "docs" / "model-file.md").read_text()
    for table in (Optimizer, Schedule, Loss, Metric):
        for name in table.OPTIONS:
            assert f"`{name}`" in page or f'name = "{name}"' in page, name
            for option in table.options_of(name):
                assert re.search(rf"\b{option}\b", page), option
    for option, field in EarlyStopping.model_fields.items():
        assert f"{option} = {str(field.default).lower()}" in page


def test_every_exit_code_is_documented() -> None:
    from gitdata import errors

    page = (ROOT / "docs" / "errors.md").read_text()
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    for code in codes | {errors.OK, errors.FINDINGS, errors.INTERRUPTED}:
        assert f"| {code} |" in page
