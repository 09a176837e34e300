"""`--json`: one record a line, with a schema, a kind and an id; which fields a kind has is held by a golden file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from world import World

GOLDEN = Path(__file__).with_name("records.golden.json")


def shape(value: Any) -> Any:
    """The type of a JSON value; of a mapping the types of what it holds."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    return {bool: "bool", int: "number", float: "number", str: "text", list: "list", type(None): "nothing"}[type(value)]


def test_records_are_those_of_the_golden_file(world: World) -> None:
    """Set GITDATA_WRITE_GOLDEN to write the file anew; its diff is then what a script that reads --json will meet."""
    clone = world.clone
    clone.declare()
    records = clone.gitdata("add", "lattice", world.lattice("a", 0, 20), "--test", "0.2", "-m", "a", "--json").records
    clone.commit("model")
    clone.push()
    world.server.wait()
    extend = ("extend", "lattice", world.lattice("b", 20, 24), "-m", "b", "--json")
    records += clone.gitdata(*extend).records
    commands: list[tuple[str | Path, ...]] = [
        ("status",), ("log", "lattice"), ("show", "lattice"), ("pending",), ("models",), ("push",), ("fetch",),
        ("checkout", "lattice"), ("checkout", "lattice", "--union", "u.parquet"),
        ("check", "lattice"), ("train", "lattice", "--dry-run"), ("promote", "lattice@1"),
        ("predict", "lattice@1", world.lattice("c", 30, 31), "-o", "p.csv"), ("ls",), ("doctor",),
        ("lineage", "lattice"), ("extend", "lattice", "--grown", world.lattice("whole", 0, 24)),
        ("diff", "lattice@1.0.0", "lattice"),
        ("lineage", "lattice", "--of", "lattice@1.0.0"), ("reproduce", "lattice@1"), ("measures", "lattice"),
        ("evaluate", "lattice"),
        ("compare", "lattice@1", "lattice@1"), ("study", "lattice", "--methods", "keep", "--seeds", "1"),
        ("retract", "lattice@1.1.0", "--reason", "bad"), ("verify", "--remote", "--deep"),
        ("ci", "init", "github", "--install", "./gitdata.whl"),
    ]  # fmt: skip
    for command in commands:
        records += clone.gitdata(*command, "--json").records
    (clone.path / next(iter((clone.path / "datasets" / "lattice").glob("1.0.0-*.dvc")))).write_text("damaged")
    records += clone.gitdata("verify", "--json", code=1).records
    records += world.server.gitdata("jobs", "--json").records + world.server.gitdata("status", "--json").records
    found: dict[str, Any] = {}
    for record in records:
        assert record["schema"] == "gitdata/1"
        assert record["id"]
        volatile = {"metrics", "missing", "double_versions", "rows"}
        fields = {key: shape(value) for key, value in record.items() if key not in volatile}
        found.setdefault(record["kind"], {}).update({"has": sorted(record), "types": fields})
    if os.environ.get("GITDATA_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    assert found == json.loads(GOLDEN.read_text())
