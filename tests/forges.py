"""What a forge does with workflow files: it checks out, runs the scripts as they stand, keeps caches and artefacts.

The steps that are actions of GitHub, and what GitLab's runner does around a script, are done here as their manuals say;
only the installation of gitdata is left out, which is the environment at hand.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from world import run

TOKEN = re.compile(r"'(?:[^']|'')*'|&&|\|\||==|!=|[()]|[A-Za-z_][\w.-]*|\s+")
WORDS = {"&&": "and", "||": "or", "true": "True", "false": "False", "always": "always"}
PROGRAMS = Path(sys.executable).parent  # where the gitdata is that a job would have installed


def load(path: Path) -> Any:
    """A YAML file as data."""
    return YAML(typ="safe").load(path.read_text())


def evaluate(expression: str, contexts: Mapping[str, Any]) -> Any:
    """The value of an expression of GitHub's: names of contexts, texts, comparisons, and always()."""
    words = TOKEN.findall(expression)
    assert "".join(words) == expression, expression

    def look(name: str) -> Any:
        value: Any = contexts
        for part in name.split("."):
            value = (value or {}).get(part)
        return "" if value is None else value

    return eval("".join(map(_in_python, words)), {"look": look, "always": lambda: True})


def _in_python(word: str) -> str:
    if word[0] == "'":
        return repr(word[1:-1].replace("''", "'"))
    return WORDS.get(word) or (f"look({word!r})" if word[0].isalpha() else word)


def filled(text: Any, contexts: Mapping[str, Any]) -> str:
    """A value of a workflow with its expressions filled in."""
    if isinstance(text, bool | int):
        return str(text).lower()
    return re.sub(r"\$\{\{(.*?)\}\}", lambda m: _text(evaluate(m[1].strip(), contexts)), str(text))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def plain_environment() -> dict[str, str]:
    """What a runner's machine has: this gitdata, and nobody's identity."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_AUTHOR", "GIT_COMMITTER"))}
    return own | {"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}


@dataclass
class Ended:
    """What came of a job: the exit status of the step that failed, what was said, and what was attached."""

    status: int
    log: str
    steps: list[str]
    artefacts: Path
    summary: str = ""


@dataclass
class _Machine:
    """A runner of GitHub's: where the repository lies, a folder beside it, and what expressions and scripts see."""

    folder: Path
    temporary: Path
    contexts: dict[str, Any]
    environment: dict[str, str]

    @classmethod
    def make(cls, root: Path, number: int, model: str, event: Mapping[str, Any]) -> _Machine:
        folder, temporary = root / "work", root / "temp"
        folder.mkdir(parents=True)
        temporary.mkdir()
        github = {**event, "workspace": str(folder), "run_id": number, "run_attempt": 1}
        contexts: dict[str, Any] = {"github": github, "matrix": {"model": model}, "steps": {}, "secrets": {}}
        contexts["runner"] = {"temp": str(temporary)}
        forge = {
            "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(folder), "RUNNER_TEMP": str(temporary),
            "GITHUB_REF": event["ref"], "GITHUB_REF_NAME": event["ref_name"], "GITHUB_EVENT_NAME": event["event_name"],
            "GITHUB_OUTPUT": str(temporary / "output"), "GITHUB_STEP_SUMMARY": str(temporary / "summary"),
        }  # fmt: skip
        return cls(folder, temporary, contexts, plain_environment() | forge)

    def filled(self, values: Mapping[str, Any]) -> dict[str, str]:
        return {name: filled(value, self.contexts) for name, value in values.items()}

    def script(self, step: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        """A `run` step, in the shell that `shell: bash` is; what it puts out is known to later steps."""
        output, script = self.temporary / "output", self.temporary / "script.sh"
        output.write_text("")
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)], cwd=self.folder,
            env=self.environment | self.filled(step.get("env", {})), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        self.contexts["steps"][step.get("id", "")] = {"outputs": outputs}
        return done


@dataclass
class GitHub:
    """GitHub: repositories at `url`, runners below `root`."""

    root: Path
    url: str
    fork: bool = False
    depth: int | None = None  # instead of what the workflow says
    runs: int = 0
    caches: dict[str, Path] = field(default_factory=dict)

    def jobs(self, workflow: Mapping[str, Any], event: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The jobs that an event starts, and for which model."""
        on = workflow["on"]
        about = on[event["event_name"]]
        if isinstance(about, dict) and (event["base_ref"] or event["ref_name"]) not in about["branches"]:
            return []
        return [
            (name, model)
            for name, job in workflow["jobs"].items()
            if evaluate(job["if"], {"github": event})
            for model in job["strategy"]["matrix"]["model"]
        ]

    def event(self, name: str = "push", branch: str = "main", pull: str = "") -> dict[str, Any]:
        """What the context `github` holds; `pull`: the commit of a pull request's merge."""
        ref = "refs/pull/1/merge" if pull else f"refs/heads/{branch}"
        return {
            "event_name": name,
            "ref": ref,
            "ref_name": ref.removeprefix("refs/heads/").removeprefix("refs/"),
            "base_ref": branch if pull else "",
            "sha": pull,
            "event": {
                "repository": {"fork": self.fork and not pull},
                "pull_request": {"head": {"repo": {"fork": self.fork}}} if pull else None,
            },
        }

    def run(self, workflow: Mapping[str, Any], job: str, model: str, event: Mapping[str, Any]) -> Ended:
        """One run of a job, from a bare machine."""
        self.runs += 1
        machine = _Machine.make(self.root / f"machine-{self.runs}", self.runs, model, event)
        about = workflow["jobs"][job]
        machine.environment |= machine.filled(workflow["env"]) | machine.filled(about["env"])
        ended = Ended(0, "", [], machine.temporary.parent / "artefacts")
        saves: list[tuple[str, str]] = []
        for step in about["steps"]:
            wanted = step.get("if", "true")
            if (ended.status and "always()" not in wanted) or not evaluate(wanted, machine.contexts):
                continue
            ended.steps.append(step["name"])
            given = machine.filled(step.get("with", {}))
            match step.get("uses", "").partition("@")[0]:
                case "actions/checkout":
                    self._check_out(machine.folder, given, event)
                case "actions/cache":
                    saves.append((given["key"], given["path"]))
                    self._restore(machine.folder, given["restore-keys"])
                case "actions/upload-artifact":
                    if Path(given["path"]).exists():
                        shutil.copytree(given["path"], ended.artefacts / given["name"])
                case "" if "pip install" not in step["run"]:
                    done = machine.script(step)
                    ended.log += done.stdout
                    ended.status = ended.status or done.returncode
        for key, paths in saves if ended.status == 0 else ():
            self._save(machine.folder, key, paths.split())
        summary = machine.temporary / "summary"
        ended.summary = summary.read_text() if summary.exists() else ""
        return ended

    def _check_out(self, folder: Path, given: Mapping[str, str], event: Mapping[str, Any]) -> None:
        depth = self.depth if self.depth is not None else int(given["fetch-depth"])
        git(folder, "init", "--quiet")
        git(folder, "remote", "add", "origin", self.url)
        ref = given["ref"]
        if ref:
            what, target = [f"+refs/heads/{ref}:refs/remotes/origin/{ref}"], ["-B", ref, f"refs/remotes/origin/{ref}"]
        else:
            name = f"refs/remotes/{event['ref'].removeprefix('refs/')}"
            what, target = [f"+{event['sha']}:{name}"], [name]
        if depth:
            how = [f"--depth={depth}"]
        else:
            how, what = [], ["+refs/heads/*:refs/remotes/origin/*", *what]
        git(folder, "fetch", "--quiet", "--no-tags", *how, "origin", *dict.fromkeys(what))
        git(folder, "checkout", "--quiet", "--force", *target)

    def _restore(self, folder: Path, prefix: str) -> None:
        found = [kept for key, kept in self.caches.items() if key.startswith(prefix)]
        if found:
            shutil.copytree(found[-1], folder, dirs_exist_ok=True)

    def _save(self, folder: Path, key: str, paths: list[str]) -> None:
        kept = self.caches[key] = self.root / "caches" / key
        for path in paths:
            if (folder / path).is_dir():
                shutil.copytree(folder / path, kept / path)


@dataclass
class GitLab:
    """GitLab: a repository at `url`, runners below `root`."""

    root: Path
    url: str
    depth: int | None = None
    runs: int = 0

    def jobs(self, part: Mapping[str, Any], branch: str) -> list[str]:
        """The jobs that a push to a branch starts."""
        shared = part[".gitdata"]
        assert shared["rules"][0] == {"if": "$CI_COMMIT_BRANCH == $GITDATA_BRANCH"}
        return [
            name for name, job in part.items() if name[0] != "." and job["variables"]["GITDATA_BRANCH"] == branch
        ]  # fmt: skip

    def run(self, part: Mapping[str, Any], job: str, branch: str = "main", **variables: str) -> Ended:
        """One run of a job for a branch, from a bare machine; `variables` are the project's own."""
        self.runs += 1
        machine = self.root / f"machine-{self.runs}"
        folder = machine / "work"
        folder.mkdir(parents=True)
        about = {**part[part[job]["extends"]]}
        own = {**about["variables"], **part[job]["variables"]}
        depth = self.depth if self.depth is not None else int(own["GIT_DEPTH"])
        git(folder, "init", "--quiet")
        git(folder, "remote", "add", "origin", self.url)
        how = [f"--depth={depth}"] if depth else []
        git(folder, "fetch", "--quiet", *how, "origin", f"+refs/heads/{branch}:refs/remotes/origin/{branch}")
        git(folder, "checkout", "--quiet", "--detach", f"refs/remotes/origin/{branch}")
        forge = {"CI": "true", "CI_COMMIT_BRANCH": branch, "CI_PROJECT_DIR": str(folder), "CI_SERVER_HOST": "localhost"}
        values = forge | variables
        values |= {name: re.sub(r"\$(\w+)", lambda m: values.get(m[1], ""), str(text)) for name, text in own.items()}
        script = machine / "script.sh"
        script.write_text("set -eo pipefail\n" + "\n".join(about["script"]))
        done = subprocess.run(
            ["bash", str(script)], cwd=folder, env=plain_environment() | values, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        (artefacts,) = about["artifacts"]["paths"]
        return Ended(done.returncode, done.stdout, [], folder / artefacts)


def git(folder: Path, *arguments: str) -> None:
    done = run("git", *arguments, cwd=folder)
    assert done.code == 0, (arguments, done)
