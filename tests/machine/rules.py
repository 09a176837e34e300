"""A machine that grows a dataset as people do, in two clones of one server, and looks after every step.

It calls gitdata in this process and real git; `plain_model` says what must come of it. A *step* is one rule; whatever a
rule did, `Watch` checks it afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from scenes import Scene

from machine import exchange, histories
from machine.model import Part, Row, fresh, grown
from machine.stage import DATASET, Stage
from machine.watch import Watch

BRANCHES = ("main", "side", "third")


class GrowingDataset(RuleBasedStateMachine):
    """Two people, one dataset."""

    scene: Scene

    def __init__(self) -> None:
        super().__init__()
        self.scene.restore()
        self.stage = Stage(self.scene.world.root)
        self.watch = Watch(self.stage)

    # --- rows ------------------------------------------------------------------------------------------------

    def draw_rows(self, data: st.DataObject, smallest: int = 1) -> list[Row]:
        """New rows, some that somebody stored anywhere, and now and then one twice."""
        rows = self.stage.new_rows(data.draw(st.integers(smallest, 3), "new"))
        if stored := [row for made in self.stage.made.values() for part in made.parts for row in part.rows]:
            rows += data.draw(st.lists(st.sampled_from(stored[-12:]), max_size=2), "stored")
        if rows and data.draw(st.booleans(), "twice"):
            rows.append(rows[0])
        return rows

    @initialize(data=st.data())
    def base(self, data: st.DataObject) -> None:
        """Both start from a base that is pushed."""
        self.add(data)
        exchange.push(self.stage, "main")
        self.stage.here = self.stage.clones["two"]
        exchange.fetch(self.stage)
        histories.merge(self.stage, "origin/main")
        self.stage.here = self.stage.clones["one"]

    def add(self, data: st.DataObject) -> None:
        rows, test = self.draw_rows(data), self.stage.new_rows(data.draw(st.integers(0, 2), "test"))
        self.extend(data, "add", rows, test, (), "add", dedupe=False)

    def grow(self, data: st.DataObject) -> None:
        """Rows in a file of their own, on the heads or on something older; with test rows, or test rows alone."""
        view = self.stage.view
        test = self.stage.new_rows(data.draw(st.integers(0, 2), "test"))
        rows = self.draw_rows(data, 0 if test else 1)
        policy = data.draw(st.sampled_from(("add", "add", "add", "replace", "drop")), "policy") if test else "add"
        parents = data.draw(st.sampled_from([None, None, *sorted(view.live)]), "parent")
        chosen = view.heads if parents is None else (parents,)
        self.extend(data, "extend", rows, test, chosen, policy, dedupe=data.draw(st.booleans(), "dedupe"))

    def extend(
        self,
        data: st.DataObject,
        command: str,
        rows: list[Row],
        test: list[Row],
        parents: Sequence[str],
        policy: str,
        *,
        dedupe: bool,
    ) -> None:
        stage, view = self.stage, self.stage.view
        arguments: list[str | Path] = [command, DATASET]
        files = [stage.write("rows", rows), stage.write("test", test)]
        arguments += [files[0]] if rows else []
        arguments += ["--test", files[1]] if test else []
        arguments += ["--dedupe"] if dedupe else []
        if tuple(parents) != view.heads:
            arguments += ["--parent", parents[0][:12]]
        if policy != "add":
            arguments += ["--test-policy", policy]
        if dedupe:
            rows, test = fresh([rows, test], view.known_rows(view.live_part(parents)))
        arguments = [*arguments, "-m", "grow"]
        if not rows and not test:
            stage.refused(2, *arguments)
            return
        if policy == "drop":
            stage.refused(2, *arguments)  # nobody would see the test rows of its own
            arguments, test = [each for each in arguments if each not in ("--test", files[1])], []
            if not rows:
                stage.refused(2, *arguments)
                return
        parts = zip(("train", "test"), files, (rows, test), strict=True)
        made = tuple(Part(split, file.name, tuple(own)) for split, file, own in parts if own)
        stage.make(arguments, tuple(parents), made, policy)
        self.repeat(data)

    def repeat(self, data: st.DataObject) -> None:
        """The same command once more changes nothing: it is refused, or finds nothing to do."""
        if data.draw(st.integers(0, 3), "again") == 3:
            self.stage.again()

    def grow_file(self, data: st.DataObject) -> None:
        """The whole data set in one file: as it was and more, and perhaps with rows gone or changed."""
        stage, view = self.stage, self.stage.view
        known = view.union("train")
        file = list(known)
        for _ in range(data.draw(st.integers(0, 2), "gone") if len(file) > 1 else 0):
            at = data.draw(st.integers(0, len(file) - 1), "at")
            changed = data.draw(st.booleans(), "changed")
            file[at : at + 1] = [stage.corrected(file[at])] if changed or len(file) == 1 else []
        file += self.draw_rows(data, 0 if file else 1)
        if data.draw(st.booleans(), "otherwise"):
            file = data.draw(st.permutations(file), "order")
        decision = data.draw(st.sampled_from(("", "--append-only-new", "--replace")), "decision")
        path = stage.write("all", file, whole=True)
        arguments = ["extend", DATASET, "--grown", path, *([decision] if decision else []), "-m", "whole"]
        taken = [row for row in file if row not in view.withdrawn]
        new, (_, gone) = grown(known, taken)[0], grown(known, file)
        heads, whole = view.heads, (Part("train", path.name, tuple(taken)),)
        if gone and not decision:
            stage.refused(2, *arguments)
        elif gone and decision == "--replace" and not taken:
            stage.refused(2, *arguments)  # all of it was retracted
        elif gone and decision == "--replace" and any(view.made[id].rows("test") for id in view.live):
            stage.refused(2, *arguments)  # it brings no test rows
            arguments += ["--test-policy", "drop"]
            stage.make(arguments, (), whole, "drop", heads)
        elif gone and decision == "--replace":
            stage.make(arguments, (), whole, replaces=heads)
        elif not new:
            stage.unchanged(arguments)
        else:
            stage.make(arguments, heads, (Part("train", path.name, tuple(new)),))
        self.repeat(data)

    # --- branches --------------------------------------------------------------------------------------------

    @rule(who=st.sampled_from(("one", "two")), name=st.sampled_from(BRANCHES))
    def go(self, who: str, name: str) -> None:
        """To a clone and a branch; a new one where there is none of that name."""
        self.stage.here = self.stage.clones[who]
        histories.switch(self.stage, name)

    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        if others := histories.unmerged(self.stage):
            histories.merge(self.stage, data.draw(st.sampled_from(others), "other"))

    @rule(data=st.data(), acts=st.integers(1, 3))
    def work(self, data: st.DataObject, acts: int) -> None:
        for _ in range(acts):
            self.act(data)

    @rule(data=st.data(), name=st.sampled_from(BRANCHES), cross=st.booleans())
    def parallel(self, data: st.DataObject, name: str, cross: bool) -> None:
        """Something is done on two branches, they are merged, and somebody goes on from there.

        Merged crosswise, whoever merges them next finds two merge bases.
        """
        here = histories.branch(self.stage)
        histories.switch(self.stage, name)
        self.act(data)
        histories.switch(self.stage, here)
        self.act(data)
        if name != here and cross:
            histories.criss_cross(self.stage, name)
        elif name != here:
            histories.merge(self.stage, name)
        self.act(data)

    def act(self, data: st.DataObject) -> None:
        """One commit, or a refusal."""
        acts = [*[self.grow] * 3, *[self.grow_file] * 3, self.retract, self.undo, self.renumber, self.revert]
        if self.stage.is_usable:
            data.draw(st.sampled_from(acts), "act")(data)
        elif not self.stage.view.present:
            self.add(data)

    def revert(self, data: st.DataObject) -> None:
        """A commit of this branch is taken back: of a leaf, of an interior pointer, of a retraction, of a revert."""
        if commits := histories.applicable(self.stage, "revert", "HEAD"):
            histories.apply(self.stage, "revert", data.draw(st.sampled_from(commits), "commit"))

    @rule(data=st.data())
    def cherry_pick(self, data: st.DataObject) -> None:
        if commits := histories.applicable(self.stage, "cherry-pick", "--branches", "--remotes", "--not", "HEAD"):
            histories.apply(self.stage, "cherry-pick", data.draw(st.sampled_from(commits), "commit"))

    # --- what is said of extensions --------------------------------------------------------------------------

    def retract(self, data: st.DataObject) -> None:
        view = self.stage.view
        chosen = data.draw(st.lists(st.sampled_from(sorted(view.known)), min_size=1, max_size=2, unique=True), "ids")
        arguments = ["retract", *(f"{DATASET}@{id[:12]}" for id in chosen), "--reason", "bad", "-m", "bad"]
        self.stage.retract(arguments, view.state.retracted | set(chosen))
        self.repeat(data)

    def undo(self, data: st.DataObject) -> None:
        view = self.stage.view
        bad, good = sorted(view.state.retracted & view.known), sorted(view.known - view.state.retracted)
        if bad:
            id = data.draw(st.sampled_from(bad), "id")
            arguments = ["retract", "--undo", f"{DATASET}@{id[:12]}", "-m", "good"]
            self.stage.retract(arguments, view.state.retracted - {id})
            self.repeat(data)
        elif good:
            self.stage.refused(2, "retract", "--undo", f"{DATASET}@{data.draw(st.sampled_from(good), 'id')[:12]}")

    def renumber(self, data: st.DataObject) -> None:
        self.stage.renumber(["renumber", DATASET, "-m", "labels"])
        self.repeat(data)

    # --- exchange --------------------------------------------------------------------------------------------

    @rule(first=st.booleans())
    def push(self, first: bool) -> None:
        """The branch that is checked out; perhaps its blobs `first`."""
        if first:
            exchange.upload(self.stage)
        exchange.push(self.stage, histories.branch(self.stage))

    @rule(data=st.data())
    def pull(self, data: st.DataObject) -> None:
        """In either clone: what the server has, perhaps merged, perhaps with the blobs."""
        self.stage.here = self.stage.clones[data.draw(st.sampled_from(("one", "two")), "who")]
        exchange.fetch(self.stage)
        others = [other for other in histories.unmerged(self.stage) if "/" in other]
        if others and data.draw(st.booleans(), "merge"):
            histories.merge(self.stage, data.draw(st.sampled_from(others), "other"))
        if data.draw(st.booleans(), "blobs"):
            exchange.bring(self.stage)
            exchange.look(self.stage)

    @rule(old=st.booleans(), remote=st.booleans())
    def prune(self, old: bool, remote: bool) -> None:
        exchange.prune(self.stage, old=old, remote=remote)

    @invariant()
    def holds(self) -> None:
        self.watch.look()

    def teardown(self) -> None:
        if self.watch.content:
            self.watch.fresh_clone()
