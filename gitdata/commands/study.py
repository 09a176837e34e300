"""Study: a dataset's chain gone through again by several methods and from several seeds.

What was computed is kept in this clone, by the digest of all that it follows from: a study that was stopped goes on,
and one of a chain that has grown computes what is new. Nothing is recorded on the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from gitdata.canonical import digest
from gitdata.commands.engine import prepare_training
from gitdata.commands.judge import rounded_all
from gitdata.commands.lenders import lenders
from gitdata.commands.records import Record, Say, silent
from gitdata.commands.rowsource import RowSource
from gitdata.commands.situation import declared, default_revision, live_of
from gitdata.commands.studied import Kept, stages_of_chain
from gitdata.data.chain import Chain
from gitdata.data.pointer import Extension
from gitdata.errors import GitdataError, Mendable
from gitdata.repo import Repo

if TYPE_CHECKING:
    from gitdata.training.borrowing import Lenders
    from gitdata.training.declaration import Declaration, Method
    from gitdata.training.package import Package
    from gitdata.training.study import Point, Stage, Traveller

USUAL = ("keep", "finetune", "distil", "rehearse", "auto", "union")
DECLARED = "declared"  # the rungs that are declared
SEEDS = 5
MOST_STAGES = 10

_PROTOCOL = 1  # counts up where what is computed changes in a way that no key tells

Way = tuple["Method", ...]


@dataclass(frozen=True, slots=True)
class Options:
    """`methods`: beside union; default: `USUAL`, and the rungs that are declared.

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
    return [own.record(name, paths, found["union"]) for name, paths in found.items()]


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
    stopped: str | None = None

    @property
    def at(self) -> int:
        """The stage that comes next."""
        return len(self.points)


@dataclass(frozen=True)
class _Study:
    """What does not change from way to way. `groups`: the extensions of each stage."""

    repo: Repo
    model: str
    declaration: Declaration
    chain: Chain
    groups: tuple[tuple[Extension, ...], ...]
    lent: Lenders
    seeds: tuple[int, ...]
    ways: Mapping[str, Way]
    source: RowSource
    kept: Kept
    say: Say

    @classmethod
    def of(cls, repo: Repo, model: str, options: Options, say: Say) -> _Study:
        """Raises Mendable where the commit does not declare the model, or its chain has a single stage."""
        from gitdata.training.declaration import parse

        repo.require_initialised()
        snapshot = repo.snapshot(options.revision or default_revision(repo, model))
        text = snapshot.declaration(model)
        declaration, wanted = parse(text, model), declared(repo, model, text)
        ways = _ways(declaration, options.methods)
        chain, live = live_of(repo, snapshot, wanted)
        groups = _groups(chain.ordered(live), options.stages)
        if len(groups) < 2:
            raise Mendable(
                f"{wanted.dataset} has {'one extension' if groups else 'none'} with train rows: nothing to go on with.",
                f"Extend it first, `gitdata extend {wanted.dataset} FILE`; a study compares how methods go on.",
            )
        ledger = repo.fetch_ledger() if declaration.network.borrows else None
        lent = lenders(repo, declaration, snapshot, lambda name: repo.ledger(name, ledger), say)
        seeds = tuple(declaration.training.seed + place for place in range(options.seeds))
        source = RowSource(repo, tuple(declaration.data.inputs or ()), tuple(declaration.data.outputs), say)
        kept = Kept(repo.state / "study" / model)
        return cls(repo, model, declaration, chain, groups, lent, seeds, ways, source, kept, say)

    @property
    def names(self) -> list[list[str]]:
        """The extensions of each stage as people call them."""
        return [[f"{one.dataset}@{one.version}" for one in group] for group in self.groups]

    @cached_property
    def stages(self) -> list[Stage]:
        """The rows, read once, and only where something is left to compute."""
        return stages_of_chain(self.source, self.chain, [[one.id for one in group] for group in self.groups])

    def travelled(self, name: str, way: Way) -> list[Path]:
        """The paths of all seeds of a way: what is kept is read, and the rest computed, all seeds together."""
        from gitdata.training.study import travel

        paths = [self._so_far(way, seed) for seed in self.seeds]
        for place in range(len(self.groups)):
            going = [path for path in paths if path.at == place and path.stopped is None]
            if not going:
                continue
            found = travel([self._traveller(way, path) for path in going], place)
            for path, own in zip(going, found, strict=True):
                if isinstance(own, GitdataError):
                    path.stopped = own.message
                else:
                    self._keep(way, path, *own)
            self.say(_progress(name, place, len(self.groups), going))
        return paths

    def _traveller(self, way: Way, path: Path) -> Traveller:
        from gitdata.training.study import Traveller, on_its_way

        declaration = on_its_way(self.declaration, self._way_at(way, path.at), path.seed)
        return Traveller(declaration, self.stages, self.source.digests, path.package, self.lent)

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

        own = on_its_way(self.declaration, self._way_at(way, place), seed)
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

    def record(self, name: str, paths: Sequence[Path], unions: Sequence[Path]) -> Record:
        """What a way came to, over its seeds, beside union training."""
        from gitdata.training.across import across

        whole = [path.points for path in paths if path.stopped is None]
        stopped = sorted({path.stopped for path in paths if path.stopped is not None})
        found = asdict(across(whole, [path.points for path in unions if path.stopped is None]))
        fields = {
            "extensions": self.names,
            "method": name,
            "metric": self.declaration.metric,
            "model": self.model,
            "seeds": len(whole),
            "stopped": stopped,
            "tolerance": self.declaration.deployment.tolerance,
            **found,
        }
        return Record("study", f"{self.model}:{name}", rounded_all(fields))


def _is_anew(way: Way) -> bool:
    from gitdata.training.retraining import ANEW

    return all(method.name in ANEW for method in way)


def _progress(name: str, place: int, stages: int, paths: Sequence[Path]) -> str:
    found = [path.points[-1].loss for path in paths if path.stopped is None and path.points]
    losses = [loss for loss in found if loss is not None]
    told = f", loss {sum(losses) / len(losses):.4g}" if losses else ""
    return f"{name}, stage {place + 1} of {stages}: {len(paths)} {'seed' if len(paths) == 1 else 'seeds'}{told}"


def _ways(declaration: Declaration, names: Sequence[str]) -> dict[str, Way]:
    """The ways by name, union training last; rungs that are declared are a way, too."""
    from gitdata.training.declaration import methods_named

    wanted = dict.fromkeys((*(names or USUAL), "union"))
    wanted["union"] = wanted.pop("union")
    found = {name: methods_named([name], declaration.retraining) for name in wanted if name != DECLARED}
    rungs = declaration.retraining.method
    if DECLARED in wanted or (not names and len(rungs) > 1):
        found = {" → ".join(method.name for method in rungs): rungs, **found}
    return found


def _groups(extensions: Sequence[Extension], most: int) -> tuple[tuple[Extension, ...], ...]:
    """The extensions of each stage: a base, and those after it, joined to stages of about as many train rows.

    Which of these one is in follows from where the middle of its rows lies; one without train rows is in the stage
    before it.
    """
    steps: list[list[Extension]] = []
    for extension in extensions:
        if extension.rows_of("train") and (not steps or _train_rows(steps[-1])):
            steps.append([])
        steps = steps or [[]]
        steps[-1].append(extension)
    if len(steps) <= most:
        return tuple(tuple(step) for step in steps if _train_rows(step))
    rows = [_train_rows(step) for step in steps[1:]]
    middles = [end - own / 2 for end, own in zip(accumulate(rows), rows, strict=True)]
    found: dict[int, list[Extension]] = {}
    for step, middle in zip(steps[1:], middles, strict=True):
        found.setdefault(int((most - 1) * middle / sum(rows)), []).extend(step)
    return (tuple(steps[0]), *(tuple(found[place]) for place in sorted(found)))


def _train_rows(extensions: Sequence[Extension]) -> int:
    return sum(extension.rows_of("train") for extension in extensions)
