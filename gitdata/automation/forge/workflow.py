"""Workflow: a forge's files for a pipeline, rendered from templates that are YAML themselves.

What is put into a template is a word of a narrow alphabet or a JSON string, which is one of YAML too. Names reach a
shell through the environment alone, never as part of a script.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gitdata.errors import Mendable

_TEMPLATES = Path(__file__).with_name("templates")
_PLAIN = re.compile(r"[A-Za-z0-9._/-]+")  # no character that an expression, a pattern or a shell would look at
_SECRETS = {
    "azure": ("AZURE_STORAGE_CONNECTION_STRING",),
    "oss": ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"),
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What workflow files follow from.

    `models`: the branch that deploys each model. `package`: what pip is to install, gitdata. `store`: the scheme of the
    store that a commit names (`s3`; empty: a folder; None: none is named).
    """

    models: Mapping[str, str]
    package: str
    store: str | None

    @property
    def branches(self) -> list[str]:
        return sorted(set(self.models.values()))

    def deployed_from(self, branch: str) -> list[str]:
        return sorted(model for model, own in self.models.items() if own == branch)


def github(pipeline: Pipeline) -> dict[str, str]:
    """A workflow with one job for each branch, and in it one run for each model."""
    head = _filled("github.yml", {"branches": _listed(pipeline.branches), "package": _quoted(pipeline.package)})
    jobs = [_github_job(pipeline, number, branch) for number, branch in enumerate(pipeline.branches)]
    return {".github/workflows/gitdata.yml": head + "\n".join(jobs)}


def gitlab(pipeline: Pipeline) -> dict[str, str]:
    """A part of a pipeline with one job for each model, and a pipeline of nothing but that part."""
    part = _filled("gitlab.yml", {"package": _quoted(pipeline.package)}, pipeline.store)
    jobs = [_gitlab_job(model, branch) for model, branch in sorted(pipeline.models.items())]
    return {".gitlab/gitdata.yml": part + "".join(jobs), ".gitlab-ci.yml": _filled("gitlab-ci.yml", {})}


FORGES: Mapping[str, Callable[[Pipeline], dict[str, str]]] = {"github": github, "gitlab": gitlab}


def secrets_of(pipeline: Pipeline) -> tuple[str, ...]:
    """The variables by which the libraries of a store are let in; of some kinds there are none."""
    return _SECRETS.get(pipeline.store or "", ())


def require_plain(pipeline: Pipeline) -> None:
    """Raises Mendable where a name would mean something to a forge, or the package to YAML or pip."""
    for model, branch in sorted(pipeline.models.items()):
        if not _PLAIN.fullmatch(branch):
            raise Mendable(
                f"models/{model}.toml is deployed from the branch '{branch}', whose name forges read as a pattern.",
                "Name branches with letters, digits, '.', '_', '-' and '/' only.",
            )
    if not pipeline.package.isprintable() or pipeline.package.startswith("-") or not pipeline.package.strip():
        raise Mendable(f"'{pipeline.package}' is nothing that pip could install.", "Name a requirement with --install.")


def _github_job(pipeline: Pipeline, number: int, branch: str) -> str:
    names = {
        "job": _quoted(f"train-{number + 1}" if number else "train"),
        "models": _listed(pipeline.deployed_from(branch)),
    }
    secrets = "".join(f"          {name}: ${{{{ secrets.{name} }}}}\n" for name in secrets_of(pipeline))
    text = _filled("github-job.yml", names, pipeline.store).replace("@branch@", branch)
    return text.replace('          "@credentials@": ""\n', secrets)


def _gitlab_job(model: str, branch: str) -> str:
    names = {"job": f"train {model}", "model": model, "branch": branch}
    return _filled("gitlab-job.yml", {name: _quoted(value) for name, value in names.items()})


def _filled(template: str, values: Mapping[str, str], store: str | None = None) -> str:
    """A template with its quoted places filled; what pip installs besides depends on the store."""
    text = (_TEMPLATES / template).read_text()
    text = text.replace(' "@store@"', f' "dvc[{store}]"' if store else "")
    for name, value in values.items():
        text = text.replace(f'"@{name}@"', value)
    return text


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(_quoted, names))
