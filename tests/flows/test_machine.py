"""A machine against a plain model."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from machine.rules import GrowingDataset
from scenes import Scene
from world import World


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A server, and two clones in which nothing is but the settings."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "world").mkdir()
    world = World.make(folder / "world")
    shutil.rmtree(world.server.path / "hooks")  # nobody retrains here
    world.clone.commit("settings")
    world.clone.push("origin", "HEAD:main")
    world.another_clone("two")
    shutil.copytree(world.root, folder / "backup", symlinks=True)
    return Scene(world, folder / "backup")


def drive(scene: Scene, examples: int, steps: int, *, derandomize: bool = True) -> None:
    machine = type("Machine", (GrowingDataset,), {"scene": scene})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=derandomize,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_few(scene: Scene) -> None:
    drive(scene, 5, 10)


@pytest.mark.slow
def test_many(scene: Scene) -> None:
    drive(scene, int(os.environ.get("GITDATA_MACHINE", 8)), 25, derandomize="GITDATA_MACHINE" not in os.environ)
