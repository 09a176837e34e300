"""Package: what a job on a forge is to install so that it has the gitdata that is here.

No package index is asked by name alone: `gitdata` on PyPI is a project of others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from gitdata.errors import Mendable

_SETTING = re.compile(r'^ *GITDATA_PACKAGE: (".*")$', re.MULTILINE)


def package(wanted: str | None, present: Path) -> str:
    """What pip is to install: what is asked for, what the file that is there says, or where this gitdata came from."""
    found = wanted or _named_in(present) or requirement_of(_origin())
    if found is None:
        raise Mendable(
            "Nothing says what a job is to install: this gitdata came from a place that no forge reaches.",
            "Name it: `--install 'gitdata @ git+https://HOST/gitdata.git@COMMIT'`, or a wheel that you commit, "
            "`--install ./gitdata-0.1.0-py3-none-any.whl`. (On PyPI, gitdata is a project of others.)",
        )
    return found


def requirement_of(origin: Mapping[str, Any]) -> str | None:
    """The requirement that installs the same again, by where pip had it from (PEP 610); None: from this machine."""
    url = str(origin.get("url", ""))
    if not url.startswith("https://"):
        return None
    if commit := origin.get("vcs_info", {}).get("commit_id"):
        return f"gitdata @ git+{url}@{commit}"
    return f"gitdata @ {url}" if "archive_info" in origin else None


def is_name_alone(requirement: str) -> bool:
    """Whether pip would ask an index for `gitdata`."""
    return re.match(r"gitdata\b(?!\S*/|.*@)", requirement.strip(), re.IGNORECASE) is not None


def _origin() -> Mapping[str, Any]:
    """Where pip installed this gitdata from; empty where it does not say."""
    try:
        text = metadata.distribution("gitdata").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return {}
    found = json.loads(text or "{}")
    return found if isinstance(found, dict) else {}


def _named_in(path: Path) -> str | None:
    match = _SETTING.search(path.read_text(errors="replace")) if path.is_file() else None
    try:
        return str(json.loads(match[1])) if match else None
    except ValueError:
        return None
