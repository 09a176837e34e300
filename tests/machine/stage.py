"""The stage of the machine: two clones of one server, the states that their commits must hold, and commands on data.

Each act says what must come of it, exit code and state; `watch` then looks at what did.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from world import Clone, Done, Server, run

from gitdata import cli
from machine.model import Made, Part, Row, State, View

DATASET = "d"


def call(folder: Path, *arguments: str | Path) -> Done:
    """A command line in this process. Never a bug, never a traceback."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli._run([str(argument) for argument in arguments])
    done = Done(code, out.getvalue(), err.getvalue())
    assert code != 3, (arguments, done)
    assert "Traceback" not in done.err, (arguments, done)
    return done


@dataclass(frozen=True)
class Said:
    """A command, where it was given, and the exit code that it has when it is given once more there."""

    arguments: Sequence[str | Path]
    place: tuple[Path, str]
    code: int


class Stage:
    """`made`: every extension; `commits`: what each commit must hold; `here`: the clone of whoever's turn it is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.server = Server(root / "server.git")
        self.clones = {"one": Clone(root / "clone"), "two": Clone(root / "two")}
        self.here = self.clones["one"]
        self.made: dict[str, Made] = {}
        self.commits = {self.head: State()}
        self.renumbered: dict[tuple[State, frozenset[str]], State] = {}
        self.said: Said | None = None
        self.count = 0
        self._views: dict[tuple[str, ...], View] = {}
        self._blobs: dict[str, frozenset[str]] = {}

    # --- what is there ---------------------------------------------------------------------------------------

    @property
    def head(self) -> str:
        return self.here.git("rev-parse", "HEAD")

    @property
    def view(self) -> View:
        return self.view_of(self.here, "HEAD")

    def view_of(self, clone: Clone, revision: str) -> View:
        """What a commit means in a clone."""
        tip, *tips = clone.git("rev-parse", revision, "--all", "HEAD").splitlines()
        key = (tip, *sorted(set(tips)))
        if key not in self._views:
            history: dict[str, set[str]] = {}
            short = {id[:8]: id for id in self.made}
            for commit in clone.git("rev-list", "--all", "HEAD").splitlines():
                for stem in self.commits[commit].pointers:
                    history.setdefault(short[stem[-8:]], set()).add(stem[:-9])
            self._views[key] = View(self.commits[tip], self.made, history)
        return self._views[key]

    @property
    def is_usable(self) -> bool:
        return bool(self.view.present) and not self.view.missing

    @property
    def origin_main(self) -> State:
        tip = run("git", "rev-parse", "--verify", "--quiet", "origin/main", cwd=self.here.path).out.strip()
        return self.commits[tip] if tip else State()

    def tips(self, place: Clone | Server, *patterns: str) -> dict[str, str]:
        """Refs of a repository and their commits."""
        lines = place.git("for-each-ref", "--format=%(refname:short) %(objectname)", *patterns).splitlines()
        return {name: commit for name, commit in map(str.split, lines) if name not in ("origin", "origin/HEAD")}

    @property
    def is_clean(self) -> bool:
        """Whether index and work tree are what was committed."""
        return self.here.git("status", "--porcelain", "--untracked-files=all") == ""

    # --- files -----------------------------------------------------------------------------------------------

    def new_rows(self, number: int) -> list[Row]:
        self.count += number
        return [(x, 0) for x in range(self.count - number, self.count)]

    def corrected(self, row: Row) -> Row:
        self.count += 1
        return row[0], self.count

    def write(self, name: str, rows: Iterable[Row], *, whole: bool = False) -> Path:
        """A CSV file with a name of its own, unless it is a `whole` data set, which keeps its name."""
        self.count += 1
        folder = self.root / "incoming" / str(self.count)
        folder.mkdir(parents=True)
        path = folder / (f"{name}.csv" if whole else f"{name}-{self.count}.csv")
        path.write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in rows))
        return path

    # --- commands --------------------------------------------------------------------------------------------

    def records(self, kind: str, arguments: Sequence[str | Path]) -> list[dict[str, Any]]:
        """What a command says, each record of one kind."""
        done = call(self.here.path, *arguments, "--json")
        assert done.code == 0, (arguments, done)
        assert {record["kind"] for record in done.records} <= {kind}, (arguments, done)
        return done.records

    def refused(self, code: int, *arguments: str | Path) -> None:
        """A refusal says why and leaves everything as it was."""
        before = self.head
        done = call(self.here.path, *arguments)
        assert done.code == code, (arguments, done)
        assert done.err.startswith("gitdata: "), done
        assert done.out == "", done
        assert self.head == before
        assert self.is_clean
        self._say(arguments, code)

    def unchanged(self, arguments: Sequence[str | Path]) -> None:
        before = self.head
        assert self.records("unchanged", arguments)
        assert self.head == before
        self._say(arguments, 0)

    def _say(self, arguments: Sequence[str | Path], code: int) -> None:
        self.said = Said(tuple(arguments), (self.here.path, self.head), code)

    def again(self) -> None:
        """The last command once more: it finds nothing to do, or is refused."""
        assert self.said is not None
        assert self.said.place == (self.here.path, self.head)
        done = call(self.here.path, *self.said.arguments)
        assert done.code == self.said.code, (self.said, done)
        assert self.said.place == (self.here.path, self.head), self.said

    def make(
        self,
        arguments: Sequence[str | Path],
        parents: tuple[str, ...],
        parts: tuple[Part, ...],
        policy: str = "add",
        replaces: tuple[str, ...] = (),
    ) -> None:
        """An extension with these rows; one that is here already is refused, one that was lost comes back."""
        view, state = self.view, self.commits[self.head]
        same = [
            m
            for m in self.made.values()
            if (m.parents, m.parts, m.policy, m.replaces) == (parents, parts, policy, replaces)
        ]
        if same and same[0].id in view.present:
            self.refused(2, *arguments)
            return
        (record,) = self.records("extension", arguments)
        id, label = str(record["id"]), str(record["version"])
        made = Made(id, parents, parts, policy, replaces)
        assert self.made.setdefault(id, made) == made
        assert not same or same[0].id == id
        if not view.ambiguous:
            lost = view.labels[id] if id in view.lost else None
            assert label == (lost or view.next_label(parents, trains=made.trains)), (label, view.labels)
        self.committed(State(state.pointers | {f"{label}-{id[:8]}"}, state.retracted))
        self._say(arguments, 0 if "--grown" in arguments else 2)

    def retract(self, arguments: Sequence[str | Path], retracted: frozenset[str]) -> None:
        """Retractions come, or one goes."""
        before, state = self.head, self.commits[self.head]
        assert self.records("retraction", arguments)
        if retracted == state.retracted:
            assert self.head == before
        else:
            self.committed(State(state.pointers, retracted))
        self._say(arguments, 2 if "--undo" in arguments else 0)

    def renumber(self, arguments: Sequence[str | Path]) -> None:
        """Every label stands for one extension afterwards; who keeps it depends on the server's `main` and on ids."""
        before, view = self.head, self.view
        settled = self.origin_main.pointers & view.state.pointers
        pointers = set(view.state.pointers)
        for record in self.records("renumbered", arguments):
            pointers = {stem for stem in pointers if stem[-8:] != str(record["id"])[:8]}
            pointers.add(f"{record['version']}-{str(record['id'])[:8]}")
        after = View(State(frozenset(pointers), view.state.retracted), self.made, view.history)
        assert not after.doubles
        assert len(after.present) == len(pointers) == len(view.present)
        if len(view.state.pointers) == len(view.present):  # no extension had two labels
            keepers = {
                sorted(view.ordered(ids), key=lambda id: view.stem(id) not in settled)[0]
                for ids in view.doubles.values()
            }
            yielding = {id for ids in view.doubles.values() for id in ids} - keepers
            assert {id for id in view.present if after.present[id] != view.present[id]} == yielding
        if not view.ambiguous:
            assert self.renumbered.setdefault((view.state, settled), after.state) == after.state
        if after.state == view.state:
            assert self.head == before
        else:
            self.committed(after.state)
        self._say(arguments, 0)

    def committed(self, state: State) -> None:
        """What the last commit is to hold; in the same second both clones may have made the very same one."""
        assert self.commits.setdefault(self.head, state) == state

    # --- blobs -----------------------------------------------------------------------------------------------

    def blobs(self, place: Clone | Server, commit: str, ids: Iterable[str] | None = None) -> set[str]:
        """DVC's names of the blobs of some extensions (None: of all) at a commit."""
        wanted = None if ids is None else {id[:8] for id in ids}
        pointers = [(object, Path(path)) for object, path in self.entries(place, commit) if path.endswith(".dvc")]
        chosen = [object for object, path in pointers if wanted is None or path.stem[-8:] in wanted]
        return {blob for object in chosen for blob in self._named(place, object)}

    def entries(self, place: Clone | Server, commit: str) -> list[tuple[str, str]]:
        """Git's name and the path of all files of datasets at a commit."""
        lines = place.git("ls-tree", "-r", commit, "--", "datasets").splitlines()
        return [(line.split()[2], line.split("\t")[1]) for line in lines]

    def _named(self, place: Clone | Server, object: str) -> frozenset[str]:
        if object not in self._blobs:
            pointer = json.loads(place.git("cat-file", "blob", object))
            own = pointer["meta"]["gitdata"]
            files = [*own["listing"]["files"], *own["sidecars"]]
            self._blobs[object] = frozenset({pointer["outs"][0]["md5"], *(file["md5"] for file in files)})
        return self._blobs[object]

    def in_cache(self, clone: Clone, blob: str) -> bool:
        return (clone.path / ".dvc" / "cache" / "files" / "md5" / blob[:2] / blob[2:]).is_file()

    def in_store(self, blob: str) -> bool:
        return (self.server.store / "files" / "md5" / blob[:2] / blob[2:]).is_file()

    def places(self, blob: str) -> bool:
        """Whether this clone can have a blob."""
        return self.in_cache(self.here, blob) or self.in_store(blob)
