"""Store: where the blobs of a git remote lie: if you can push, you can store."""

from __future__ import annotations

import re
from pathlib import Path

from gitdata.errors import TryAgain

_SCP_URL = re.compile(r"(?P<host>[^/:]+):(?P<path>.*)")


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
    if url.startswith("ssh://"):
        return f"{url.rstrip('/')}/gitdata/remote"
    match = _SCP_URL.fullmatch(url)
    if match and "://" not in url and match["path"].startswith("/"):
        return f"ssh://{match['host']}{match['path'].rstrip('/')}/gitdata/remote"
    return None
