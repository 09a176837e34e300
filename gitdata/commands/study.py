"""Study: a dataset's chain gone through again by several methods and from several seeds.

What was computed is kept in this clone, by the digest of all that it follows from: a study that was stopped goes on,
and one of a chain that has grown computes what is new. Nothing is recorded on the ledger. All rows are here, as a study
reads them: `auto` goes about as it does where nothing has to be fetched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from gitdata.canonical import digest
from gitdata.commands import streaming
from gitdata.commands.check import require_fit, require_rows
from gitdata.commands.engine import prepare_training
from gitdata.commands.judge import rounded_all
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.studied import ChainRows, Kept, rows_of_chain
from gitdata.commands.task import Task, View
from gitdata.commands.train import Options as Training
from gitdata.commands.train import prepare
from gitdata.data.pointer import Extension
from gitdata.errors import GitdataError, Mendable
from gitdata.repo import Repo

if TYPE_CHECKING:
    from gitdata.training.borrowing import Lenders
    from gitdata.training.declaration import Declaration, Method
    from gitdata.training.package import Package
    from gitdata.training.study import Point, Traveller

USUAL = ("keep", "finetune", "distil", "rehearse", "auto", "union")
DECLARED = "declared"
SEEDS = 5
MOST_STAGES = 10

_PROTOCOL = 2  # counts up where what is computed changes in a way that no key tells

Way = tuple["Method", ...]


@dataclass(frozen=True, slots=True)
class Options:
    """`methods`: beside union, `DECLARED` for what is declared; default: `USUAL`, and what is declared.

    `stages`: at most so many; of more extensions some are one stage.
    """

    revision: str | None = None
    methods: tuple[str, ...] = ()
    seeds: int = SEEDS
    stages: int = MOST_STAGES


def study(repo: Repo, model: str, options: Options, say: Say = silent) -> list[Record]:
    """A record for each method, that of union training last."""
    _require_sensible(options)
    own = _Study.of(repo, model, options, say)
    prepare_training(repo)
    found = {name: own.travelled(name, way) for name, way in own.ways.items()}
    unions = {path.seed: path.points for path in found["union"] if path.stopped is None}
    return [own.record(name, paths, unions) for name, paths in found.items()]


def _require_sensible(options: Options) -> None:
    if not 1 <= options.seeds <= 100:
        raise Mendable(f"--seeds {options.seeds} is no number of seeds.", "Between 1 and 100, as in --seeds 5.")
    if options.stages < 2:
        raise Mendable(f"--stages {options.stages} is too few.", "A base and something new are two.")


@dataclass(slots=True)
class Path:
    """Where one seed of a way went: a point for each stage, the version at the last, and what stopped it there."""

    seed: int
    points: list[Point] = field(default_factory=list)
    package: Package | None = None
    stopped: GitdataError | None = None

    @property
    def at(self) -> int:
        """The stage that comes next."""
        return len(self.points)


@dataclass(frozen=True)
class _Study:
    """What does not change from way to way. `groups`: the extensions of each stage."""

    task: Task
    view: View
    groups: tuple[tuple[Extension, ...], ...]
    lent: Lenders
    seeds: tuple[int, ...]
    ways: Mapping[str, Way]
    kept: Kept

    @classmethod
    def of(cls, repo: Repo, model: str, options: Options, say: Say) -> _Study:
        """Raises Mendable where the commit does not declare the model, or not well, or its chain has a single stage."""
        task = prepare(repo, model, Training(options.revision), say)
        ways = _ways(task.declaration, options.methods)
        ledger = repo.fetch_ledger() if task.declaration.network.borrows else None
        view = task.view_apart(ledger)
        groups = _groups(view.chain.ordered(view.situation.live), options.stages)
        if len(groups) < 2:
            raise _too_short(task, len(groups))
        lent = task.lenders(ledger)
        require_fit(task, view, {name: own.plan for name, own in lent.items()})
        seeds = tuple(task.declaration.training.seed + place for place in range(options.seeds))
        return cls(task, view, groups, lent, seeds, ways, Kept(repo.state / "study" / model))

    @property
    def names(self) -> list[list[str]]:
        """The extensions of each stage as people call them, those of which two have one label by their ids."""
        double = self.view.chain.double_versions
        return [
            [f"{one.dataset}@{one.short if one.version in double else one.version}" for one in group]
            for group in self.groups
        ]

    @property
    def has_test_rows(self) -> bool:
        """Whether the chain brings any."""
        return any(one.rows_of("test") for group in self.groups for one in group)

    @cached_property
    def rows(self) -> ChainRows:
        """The rows, read once, and only where something is left to compute. Raises Mendable where they do not fit."""
        found = rows_of_chain(self.task.source, self.view.chain, [[one.id for one in group] for group in self.groups])
        require_rows(self.task, self.view, found.train, {name: own.plan for name, own in self.lent.items()})
        if found.left_out:
            self.task.say(f"{found.left_out} test rows that are among the train rows are left out.")
        return found

    def travelled(self, name: str, way: Way) -> list[Path]:
        """The paths of all seeds of a way: what is kept is read, and the rest computed, all seeds together."""
        from gitdata.training.study import travel

        paths = [self._so_far(way, seed) for seed in self.seeds]
        for place in range(len(self.groups)):
            going = [path for path in paths if path.at == place and path.stopped is None]
            for several in _parts(going, self._at_once if going else 1):
                found = travel([self._traveller(way, path) for path in several], place)
                for path, own in zip(several, found, strict=True):
                    if not isinstance(own, GitdataError):
                        self._keep(way, path, *own)
                    elif not place:
                        raise own  # nobody can go on from there
                    else:
                        path.stopped = own
            if going:
                self.task.say(_progress(name, place, len(self.groups), going))
        return paths

    @property
    def _at_once(self) -> int:
        """How many seeds are trained together: as many as memory holds the encoded rows of."""
        return max(1, streaming.memory_limit(self.task.repo) // max(1, self.rows.bytes))

    def _traveller(self, way: Way, path: Path) -> Traveller:
        from gitdata.training.study import Traveller, on_its_way

        declaration = on_its_way(self.task.declaration, self._way_at(way, path.at), path.seed)
        return Traveller(declaration, self.rows.stages, self.task.source.digests, path.package, self.lent)

    def _way_at(self, way: Way, place: int) -> Way:
        """From nothing there is one way for all, unless one asks for weights that only it keeps."""
        from gitdata.training.declaration import Method

        if place or any("restart" in method.differing() for method in way):
            return way
        return (Method(name="union"),)

    def _so_far(self, way: Way, seed: int) -> Path:
        """The path up to the last stage from which it can be gone on."""
        path = Path(seed)
        for place in range(len(self.groups)):
            if (point := self.kept.point(self._key(way, seed, place))) is None:
                break
            path.points.append(point)
        while path.points and path.at < len(self.groups) and not _is_anew(way):
            path.package = self.kept.package(self._key(way, seed, path.at - 1))
            if path.package is not None:
                break
            path.points.pop()
        return path

    def _keep(self, way: Way, path: Path, package: Package, point: Point) -> None:
        """A version and where it led to. The version that it came from is needed no more, the first aside."""
        self.kept.keep(self._key(way, path.seed, path.at), point, None if _is_anew(way) and path.at else package)
        if path.at > 1:
            self.kept.drop_package(self._key(way, path.seed, path.at - 1))
        path.points.append(point)
        path.package = None if _is_anew(way) else package

    def _key(self, way: Way, seed: int, place: int) -> str:
        """Over all that the version of a stage follows from."""
        from gitdata.training.methods.running import made_by
        from gitdata.training.study import on_its_way

        own = on_its_way(self.task.declaration, self._way_at(way, place), seed)
        judged = own.deployment.model_dump(mode="json", include={"metric", "tolerance"})
        stages = [[extension.id for extension in group] for group in self.groups[: place + 1]]
        return digest(
            {
                "declaration": own.digest,
                "judged": judged,
                "made_by": made_by(),
                "protocol": _PROTOCOL,
                "stages": stages,
            }
        )

    # --- telling ---------------------------------------------------------------------------------------------

    def record(self, name: str, paths: Sequence[Path], unions: Mapping[int, Sequence[Point]]) -> Record:
        """What a way came to, over its seeds, beside union training."""
        from gitdata.training.across import across

        declaration = self.task.declaration
        whole = {path.seed: path.points for path in paths if path.stopped is None}
        found = across(whole, unions, by_points=declaration.metric == "accuracy")
        fields = {
            "extensions": self.names,
            "method": name,
            "metric": declaration.metric,
            "model": self.task.model,
            "seeds": len(whole),
            "stopped": sorted(
                {f"{error.message} {error.next_step}".strip() for path in paths if (error := path.stopped)}
            ),
            "has_test_rows": self.has_test_rows,
            "tolerance": declaration.deployment.tolerance,
            **asdict(found),
        }
        return Record("study", f"{self.task.model}:{name}", rounded_all(fields))


def _is_anew(way: Way) -> bool:
    from gitdata.training.retraining import ANEW

    return all(method.name in ANEW for method in way)


def _progress(name: str, place: int, stages: int, paths: Sequence[Path]) -> str:
    found = [path.points[-1].loss for path in paths if path.stopped is None and path.points]
    losses = [loss for loss in found if loss is not None]
    told = f", loss {sum(losses) / len(losses):.4g}" if losses else ""
    return f"{name}, stage {place + 1} of {stages}: {len(paths)} {'seed' if len(paths) == 1 else 'seeds'}{told}"


def _ways(declaration: Declaration, names: Sequence[str]) -> dict[str, Way]:
    """The ways by name, union training last; what is declared is one, called by its rungs."""
    from gitdata.training.declaration import methods_named

    wanted = dict.fromkeys((*(names or (*USUAL, DECLARED)), "union"))
    wanted["union"] = wanted.pop("union")
    rungs = declaration.retraining.method
    found: dict[str, Way] = {}
    for name in wanted:
        if name == DECLARED:
            found = {" → ".join(method.name for method in rungs): rungs, **found}
        else:
            found[name] = methods_named([name], declaration.retraining)
    return found


def _parts(paths: Sequence[Path], size: int) -> list[Sequence[Path]]:
    return [paths[start : start + size] for start in range(0, len(paths), size)]


def _too_short(task: Task, stages: int) -> Mendable:
    what = "one extension" if stages else "none"
    if task.wanted.version is not None:
        pinned = f"{task.wanted.dataset}@{task.wanted.version}"
        return Mendable(
            f"{pinned}, to which the model is pinned, has {what} with train rows: nothing to go on with.",
            "Pin a later version, or none: a study compares how methods go on.",
        )
    return Mendable(
        f"{task.wanted.dataset} has {what} with train rows: nothing to go on with.",
        f"Extend it first, `gitdata extend {task.wanted.dataset} FILE`; a study compares how methods go on.",
    )


def _groups(extensions: Sequence[Extension], most: int) -> tuple[tuple[Extension, ...], ...]:
    """The extensions of each stage: a base; after it one each, or two, four … where there would be too many stages.

    So a chain that grows changes its last stage alone, until they are twice as long. One without train rows is in the
    stage before it.
    """
    steps: list[list[Extension]] = [[]]
    for extension in extensions:
        if extension.rows_of("train") and _train_rows(steps[-1]):
            steps.append([])
        steps[-1].append(extension)
    base, later, size = steps[0], steps[1:], 1
    while len(later) > size * (most - 1):
        size *= 2
    joined = [later[start : start + size] for start in range(0, len(later), size)]
    groups = (tuple(base), *(tuple(one for step in several for one in step) for several in joined))
    return groups if _train_rows(base) else ()


def _train_rows(extensions: Sequence[Extension]) -> int:
    return sum(extension.rows_of("train") for extension in extensions)
