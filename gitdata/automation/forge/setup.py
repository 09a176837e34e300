"""Setup: `gitdata ci init`, from what a work tree declares to files in it, and what is left for a person to do."""

from __future__ import annotations

from gitdata.automation.forge.package import is_name_alone, package
from gitdata.automation.forge.placing import is_ours, marked, place
from gitdata.automation.forge.workflow import FORGES, Pipeline, require_plain, secrets_of
from gitdata.commands.records import Record
from gitdata.commands.situation import declared
from gitdata.errors import Mendable
from gitdata.repo import Repo
from gitdata.storage import config

_PART = {"github": ".github/workflows/gitdata.yml", "gitlab": ".gitlab/gitdata.yml"}  # what says what is installed


def set_up(repo: Repo, forge: str, install: str | None = None, *, force: bool = False) -> list[Record]:
    """Write the workflow files of a forge; a record for each. Raises Mendable, with nothing written."""
    pipeline = pipeline_of(repo, forge, install)
    placed = place(repo, forge, FORGES[forge](pipeline), force=force)
    fields = {
        "forge": forge,
        "models": dict(sorted(pipeline.models.items())),
        "package": pipeline.package,
        "to_do": to_do(forge, pipeline),
    }
    return [Record("forge file", file.path, {**fields, "outcome": file.outcome}) for file in placed]


def shown(repo: Repo, forge: str, install: str | None = None) -> dict[str, str]:
    """What the files are to say, by path."""
    return {path: marked(forge, text) for path, text in FORGES[forge](pipeline_of(repo, forge, install)).items()}


def outdated(repo: Repo) -> list[str]:
    """The forges whose file gitdata wrote, and would write otherwise by now: a model came, say."""
    found = []
    for forge, part in _PART.items():
        place = repo.writable(repo.top / part)
        text = place.read_text(errors="replace") if place.is_file() else ""
        if is_ours(text) and shown(repo, forge)[part] != text:
            found.append(forge)
    return found


def pipeline_of(repo: Repo, forge: str, install: str | None) -> Pipeline:
    """What the declarations in the work tree, and the committed store, ask for."""
    if forge not in FORGES:
        raise Mendable(f"gitdata knows no forge '{forge}'.", f"Name one of {', '.join(sorted(FORGES))}.")
    top = repo.require_work_tree("ci init")
    repo.require_initialised()
    declarations = repo.work_tree_snapshot().declarations
    if not declarations:
        raise Mendable("No model is declared here, so a forge would have nothing to train.", "See docs/model-file.md.")
    models = {model: declared(repo, model, text).branch for model, text in declarations.items()}
    pipeline = Pipeline(models, package(install, repo.writable(top / _PART[forge])), _store(repo))
    require_plain(pipeline)
    return pipeline


def to_do(forge: str, pipeline: Pipeline) -> list[str]:
    """What a person has to see to on the forge, in sentences."""
    steps = []
    if pipeline.store is None:
        steps.append("A forge has no place for blobs: name a store, `dvc remote add -d NAME URL`; commit .dvc/config.")
    elif pipeline.store == "":
        steps.append("The store is a folder: the forge's runners must reach it by the same path.")
    elif secrets := secrets_of(pipeline):
        steps.append(f"Give the jobs access to the store: the secrets {' and '.join(secrets)}.")
    else:
        steps.append(f"Give the jobs access to the store ({pipeline.store}://): docs/operate.md says how.")
    if is_name_alone(pipeline.package):
        steps.append("On PyPI, gitdata is a project of others: see to it that the jobs' pip asks an index of yours.")
    if forge == "gitlab":
        steps.append("Let the job's token push: Settings, CI/CD, Job token permissions; or set GITDATA_TOKEN.")
    else:
        steps.append("If gitdata/models is protected, let GitHub Actions push to it.")
    return steps


def _store(repo: Repo) -> str | None:
    """The scheme of the store that the committed configuration names; empty for a folder, None if it names none."""
    text = repo.writable(repo.top / ".dvc" / "config").read_text(errors="replace")
    committed = config.effective(text, ())
    if committed.default_remote is None:
        return None
    scheme, found, _ = committed.remote(committed.default_remote).url.partition("://")
    return scheme if found else ""
