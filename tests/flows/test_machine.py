"""A Hypothesis state machine over all that happens to a dataset in git, against a plain model of it.

`machine/rules.py` adds and extends (with `--dedupe`, `--test`, `--parent` and the test policies), takes in grown files
(appended, corrected, reordered, repeated), retracts and takes that back, renumbers, branches, merges (also crosswise,
and with conflicts), reverts, cherry-picks, pushes, fetches and prunes, in two clones of one server. After every step
`machine/watch.py` compares with `machine/model.py`. What is held of the invariants of docs/format.md:

1. A blob's name is its digest, and what is fetched is hashed: at the end a new clone fetches every branch of the
   server, and `verify --remote --deep` finds no damage there.
2. A pushed ref names only blobs that the remote holds: looked at on the server's disk; a push that cannot keep that is
   refused, and leaves the server's refs as they were.
3. A closure is parent-complete, or the command says which id is missing: `status`, `log`, `push`, `fetch` and `prune`
   exit 4 and name it.
4. Blob, pointer, ref: what is refused leaves index, work tree and HEAD as they were; the same command once more is
   refused or finds nothing to do.
7. Nothing that is merged changes what it means: ids are those of the content, parents were there before (no cycle), and
   what is live, the heads, the labels that stand for several extensions, the rows of the union and their order are the
   model's in every clone. So no row of anything retracted, replaced or lost is in a union.

Of what is live on a branch, `prune` takes nothing from the cache, and of what history names nothing altogether. Git
merges without a conflict, unless both sides took something away or gave it another label. `renumber` comes to the same
result in every clone. Invariants 5 and 6 are about models.

A long campaign: `GITDATA_MACHINE=500 python -m pytest -n 0 -m slow tests/flows/test_machine.py`, each time other ones.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from machine.rules import GrowingDataset
from scenes import Scene
from world import World

from gitdata import pointers
from gitdata.commands import packs


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A server, and two clones with nothing but the settings; what is kept for thousands of extensions is for few."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "world").mkdir()
    world = World.make(folder / "world")
    shutil.rmtree(world.server.path / "hooks")  # nobody retrains here
    world.clone.commit("settings")
    world.clone.push("origin", "HEAD:main")
    world.another_clone("two")
    shutil.copytree(world.root, folder / "backup", symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pointers, "WORTH_KEEPING", 1)
        patch.setattr(packs, "MANY", 2)
        yield Scene(world, folder / "backup")


def drive(scene: Scene, examples: int, steps: int, *, always_the_same: bool = True) -> None:
    machine = type("Machine", (GrowingDataset,), {"scene": scene})
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=always_the_same,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)


def test_what_a_few_people_do(scene: Scene) -> None:
    drive(scene, 5, 8)


@pytest.mark.slow
def test_what_many_people_do(scene: Scene) -> None:
    campaign = os.environ.get("GITDATA_MACHINE")
    drive(scene, int(campaign or 10), 15, always_the_same=campaign is None)
