"""Store: where the blobs of a git remote lie: if you can push, you can store."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from gitdata.errors import TryAgain

_SSH_URL = re.compile(r"(?:ssh|git\+ssh|ssh\+git)://(?P<host>[^/]+)(?P<path>/.*)")
_SCP_URL = re.compile(r"(?P<host>[^/:]+):(?P<path>.*)")
_WHOLE_PATH = re.compile(r"/[^~?#][^?#]*")


def local_folder(url: str, base: Path) -> Path | None:
    """The folder that a URL or path names, or None where it names another machine."""
    if url.startswith("file://"):
        return Path(url.removeprefix("file://")).resolve()
    if "://" in url or (_SCP_URL.fullmatch(url) and not (base / url).exists()):
        return None
    return (base / url).resolve()


def git_folder_of(folder: Path, name: str) -> Path:
    for candidate in (folder / ".git", folder, folder.with_name(folder.name + ".git")):
        if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
            return candidate
    raise TryAgain(
        f"The git remote '{name}' is not reachable: '{folder}' is no git repository.",
        "Check `git remote -v`, or that the disk is mounted, then run the same command again.",
    )


def over_ssh(url: str) -> str | None:
    """The store beside a repository that a git URL names by its whole path on a host, as a DVC URL.

    A path below the login folder (`HOST:PATH`, `ssh://HOST/~/PATH`) is how forges name repositories: None.
    """
    if match := _SSH_URL.fullmatch(url):
        path = unquote(match["path"])
    elif (match := _SCP_URL.fullmatch(url)) and "://" not in url:
        path = match["path"]
    else:
        return None
    return f"ssh://{match['host']}{path.rstrip('/')}/gitdata/remote" if _WHOLE_PATH.fullmatch(path) else None
