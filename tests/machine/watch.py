"""What is looked at after every step of the machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from world import Clone, run

from gitdata.api import Repo
from machine.model import SPLITS, Row, State, View
from machine.stage import DATASET, Stage, call


class Watch:
    """`content`: nothing was wrong when this looked last."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.content = False
        self._read: dict[tuple[frozenset[str], frozenset[str]], list[list[Row]]] = {}
        self._sound: set[str] = set()

    def look(self) -> None:
        self.content = False
        view, clone = self.stage.view, self.stage.here
        assert self.stage.is_clean  # whatever was done is committed, and what was refused left nothing
        self._git_holds(clone, view.state)
        self._server_holds_blobs()
        if view.present:
            self._status(clone, view)
            self._log(clone, view)
        if view.present and not view.missing and not self._absent(clone, view):
            self._rows(clone, view)  # else a rule brings what is not here
        self._verify(clone, view)
        self.content = True

    # --- git -------------------------------------------------------------------------------------------------

    def _git_holds(self, clone: Clone, state: State) -> None:
        """The pointers and retractions of the model, and no others; each pointer is what it says."""
        paths = {path: object for object, path in self.stage.entries(clone, "HEAD")}
        wanted = {f"datasets/{DATASET}/{stem}.dvc" for stem in state.pointers}
        wanted |= {f"datasets/{DATASET}/retracted/{id}.json" for id in state.retracted}
        assert paths.keys() == wanted
        for path, object in paths.items():
            if path.endswith(".dvc") and object + path not in self._sound:
                self._pointer(path, json.loads(clone.git("cat-file", "blob", object)))
                self._sound.add(object + path)

    def _pointer(self, path: str, pointer: dict[str, Any]) -> None:
        """The id is that of the content, the name says label and id, the parents were there before: no cycle."""
        own = pointer["meta"]["gitdata"]
        files = [
            {key: file[key] for key in ("path", "rows", "sha256", "size", "split")} for file in own["listing"]["files"]
        ]
        files.sort(key=lambda file: (file["split"], file["path"]))
        assert own["listing"]["digest"] == _digest(files)
        content = {"dataset": DATASET, "listing": _digest(files), "parents": own["parents"]}
        content |= {"replaces": own["replaces"], "split_policy": own["split_policy"]}
        assert own["id"] == _digest(content)
        assert path == f"datasets/{DATASET}/{own['version']}-{own['id'][:8]}.dvc"
        assert pointer["outs"][0]["path"] == f"{own['version']}-{own['id'][:8]}"
        made = self.stage.made[own["id"]]
        assert (tuple(own["parents"]), tuple(own["replaces"])) == (tuple(sorted(made.parents)), made.replaces)
        assert own["split_policy"] == {"test": made.policy}
        assert own["listing"]["rows"] == {split: len(made.rows(split)) for split in SPLITS if made.rows(split)}
        older = list(self.stage.made)
        assert all(older.index(parent) < older.index(made.id) for parent in (*made.parents, *made.replaces))

    def _server_holds_blobs(self) -> None:
        """Invariant 2: a pushed ref names only blobs that the remote holds."""
        server = self.stage.server
        for tip in self.stage.tips(server, "refs/heads").values():
            assert all(self.stage.in_store(blob) for blob in self.stage.blobs(server, tip))

    # --- what commands say -----------------------------------------------------------------------------------

    def _status(self, clone: Clone, view: View) -> None:
        done = call(clone.path, "status", "--json")
        assert done.code == (4 if view.missing else 0), done
        if done.code:
            assert any(id[:8] in done.err for id in view.missing), done
            return
        (record,) = (record for record in done.records if record["kind"] == "dataset")
        expected = {
            "double_versions": {label: [id[:8] for id in ids] for label, ids in view.doubles.items()},
            "extensions": len(view.live),
            "heads": [view.stem(head) for head in view.heads],
            "lost": sorted(id[:8] for id in view.lost),
            "retracted": sorted(id[:8] for id in view.state.retracted & view.known),
            "rows": {s: sum(len(view.made[id].rows(s)) for id in view.members(view.live, s)) for s in SPLITS},
            "staged": [],
            "unstaged": [],
        }
        said = record
        assert {key: said[key] for key in expected} == expected
        assert said["missing"].keys() == {view.stem(id) for id in self._absent(clone, view)}

    def _log(self, clone: Clone, view: View) -> None:
        done = call(clone.path, "log", DATASET, "--json")
        assert done.code == (4 if view.missing else 0), done
        if done.code == 0:
            assert [record["id"] for record in done.records] == view.ordered(view.known)
            states = {record["id"]: record["state"] for record in done.records}
            assert {id for id, state in states.items() if state == "live"} == view.live

    def _verify(self, clone: Clone, view: View) -> None:
        """Findings are parents without a pointer, and blobs of what is live that are not here."""
        done = call(clone.path, "verify", "--json")
        findings = [record for record in done.records if record["kind"] == "finding"]
        gone = {parent for id in view.present for parent in view.made[id].parents} - view.present.keys()
        absent = set() if view.missing else self._absent(clone, view)
        if not view.missing:
            assert done.code == (1 if gone or absent else 0), (done, gone, absent)
        parts = {record["part"] for record in findings}
        assert parts <= {"chain", "cache"}
        assert ("chain" in parts) == bool(gone)
        assert view.missing or ("cache" in parts) == bool(absent)

    def _absent(self, clone: Clone, view: View) -> set[str]:
        """What is live and has blobs that the cache lacks."""
        stage = self.stage
        return {id for id in view.live if not all(stage.in_cache(clone, b) for b in stage.blobs(clone, "HEAD", [id]))}

    # --- rows ------------------------------------------------------------------------------------------------

    def _rows(self, clone: Clone, view: View) -> None:
        """The union is the model's, row by row, in every clone and under whatever labels."""
        dataset = Repo(clone.path).dataset(DATASET)
        assert set(dataset.ids) == view.live
        for split in SPLITS:
            rows: list[Row] = []
            if split in dataset.splits:
                columns = dataset[split].to_numpy()
                rows = list(zip(columns["x"].astype(int).tolist(), columns["y"].astype(int).tolist(), strict=True))
            assert rows == view.union(split), split

    # --- at the end ------------------------------------------------------------------------------------------

    def fresh_clone(self) -> None:
        """Whatever was pushed can be had by somebody new."""
        stage = self.stage
        new = Clone(stage.root / "new")
        run("git", "clone", "--quiet", stage.server.path, new.path, cwd=stage.root)
        assert call(new.path, "init").code == 0
        for name in stage.tips(stage.server, "refs/heads"):
            new.git("switch", "--quiet", name)
            view = stage.view_of(new, "HEAD")
            if view.missing:
                continue
            done = call(new.path, "fetch")
            assert done.code == 0, done
            done = call(new.path, "verify", "--remote", "--deep", "--json")
            parts = {record["part"] for record in done.records if record["kind"] == "finding"}
            assert parts <= {"chain"}, done
            if view.present:
                self._status(new, view)
                self._rows(new, view)


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
