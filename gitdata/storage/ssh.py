"""SSH: a store on a host that SFTP reaches, with the care that git takes there.

DVC's file system believes any host key; git does not, and neither do we. The repository of a store that was derived
from a git URL is looked for as git looks for it, and nothing is made where there is none.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gitdata.errors import Mendable, TryAgain

_STORE = "/gitdata/remote"
_PACKAGES = "/gitdata-models"


@dataclass(frozen=True, slots=True)
class Place:
    """Where on a host a store lies, and the mode of its folders where they belong to a group."""

    path: str
    group_mode: int | None


def open_store(filesystem: Any, path: str, url: str) -> Place:
    """Connect DVC's SSH file system and find the store.

    Raises Mendable where the host's key is not known or the host has no SFTP, TryAgain where it does not let us in, and
    FileNotFoundError where there is nothing that the store could lie in.
    """
    import asyncssh

    filesystem.fs_args.update(known_hosts=(), agent_forwarding=False)  # (): those of ~/.ssh
    host, port = filesystem.fs_args["host"], filesystem.fs_args.get("port")
    try:
        filesystem.fs.client  # noqa: B018  # it connects
    except (asyncssh.HostKeyNotVerifiable, FileNotFoundError) as error:  # there may be no ~/.ssh/known_hosts at all
        raise Mendable(
            f"The remote {url} is not trusted: the key of the host '{host}' is unknown, or not the one that is known.",
            f"Check it and let `ssh {f'-p {port} ' if port else ''}{host}` add it to ~/.ssh/known_hosts.",
        ) from error
    except PermissionError as error:
        raise TryAgain(
            f"The remote {url} does not let you in: {error}.",
            "Check key and user in ~/.ssh/config (GIT_SSH_COMMAND is for git alone), then run the same command again.",
        ) from error
    except ValueError as error:  # asyncssh's errors of configuration and keys
        raise Mendable(f"The remote {url} cannot be reached: {error}.", "Mend ~/.ssh/config, or the key.") from error
    try:
        filesystem.info("/")
    except (asyncssh.SFTPConnectionLost, ValueError) as error:  # the host of a forge, or a forced command
        raise Mendable(
            f"The host '{host}' lets you use git but no files (SFTP), so {url} cannot be the place for blobs.",
            "Name another: `dvc remote add -d NAME URL`, then commit .dvc/config.",
        ) from error
    modes = partial(_mode, filesystem)
    place, anchor = _find(path.rstrip("/"), modes)
    mode = modes(anchor) or 0
    return Place(place, mode & 0o7777 if is_of_group(mode) else None)


def make_folder(filesystem: Any, folder: str, group_mode: int | None) -> None:
    """Make a folder and those it lies in."""
    from fsspec.asyn import sync

    missing = []
    above = folder
    while _mode(filesystem, above) is None:
        missing.append(above)
        above = posixpath.dirname(above)
    filesystem.makedirs(folder, exist_ok=True)
    if group_mode is not None and missing:
        sync(filesystem.fs.loop, _change_mode, filesystem.fs.client, missing, group_mode)


def is_of_group(mode: int) -> bool:
    """Whether a folder is the group's to write to, with all that is made in it: git's core.sharedRepository."""
    return mode & 0o2020 == 0o2020


async def _change_mode(client: Any, folders: list[str], mode: int) -> None:
    """What a server's umask took away is given back."""
    async with client.start_sftp_client() as channel:
        for folder in folders:
            await channel.chmod(folder, mode)


def _find(path: str, modes: Callable[[str], int | None]) -> tuple[str, str]:
    """The path of a store, and what it lies in: a repository, or the folder above."""
    store = path.removesuffix(_PACKAGES)
    if not store.endswith(_STORE):
        folder = posixpath.dirname(store)
        if modes(folder) is None:
            raise FileNotFoundError(f"there is no folder '{folder}'")
        return path, folder
    repository = store.removesuffix(_STORE)
    for candidate in (repository, f"{repository}/.git", f"{repository}.git"):
        if modes(f"{candidate}/HEAD") is not None and modes(f"{candidate}/objects") is not None:
            return candidate + path.removeprefix(repository), candidate
    raise FileNotFoundError(f"'{repository}' is no git repository")


def _mode(filesystem: Any, path: str) -> int | None:
    """The permissions of a file or folder, or None where there is none."""
    try:
        return int(filesystem.info(path)["permissions"])
    except FileNotFoundError:
        return None
