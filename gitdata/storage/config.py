"""DVC configuration, read by gitdata itself: what a commit may say, and what only this machine may.

A pushed `.dvc/config` could name commands, credentials or files of whoever reads it, so committed text contributes
an allow-list: where blobs are, never how to get in. System, user and clone (`config.local`) may say all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from configparser import ConfigParser, Error
from dataclasses import dataclass, field
from pathlib import Path

from gitdata.errors import Mendable

# Where things are. Not: commands, credentials, files of this machine, or whether certificates are checked.
COMMITTED_OPTIONS = frozenset({"account_name", "endpointurl", "oss_endpoint", "port", "projectname", "region", "url"})
_COMMITTED_SCHEMES = frozenset(
    {"azure", "gs", "hdfs", "http", "https", "oss", "s3", "ssh", "webdav", "webdavs", "webhdfs"}
)


@dataclass(frozen=True, slots=True)
class RemoteConfig:
    """A DVC remote: its URL (a folder or `scheme://…`) and the options that its file system takes."""

    name: str
    url: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """The remotes that are known here, and the default one.

    One that this machine's configuration says anything of is this machine's: a commit adds nothing to it, or it could
    send what this machine knows, credentials say, to a place of its choice. `committed` is what commits say.
    """

    default_remote: str | None
    remotes: Mapping[str, Mapping[str, str]]
    committed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.remotes)

    def remote(self, name: str) -> RemoteConfig:
        """A remote by name. Raises Mendable where it is not configured."""
        options = dict(self.remotes.get(name.lower(), {}))
        url = options.pop("url", None)
        pushed = self.committed.get(name.lower(), {}).get("url")
        if url is None and pushed is not None:
            raise Mendable(
                f"This machine has settings of its own for the DVC remote '{name}', but only a commit says where it "
                f"is: {pushed}.",
                f"If they are meant for that place, say so here: `dvc remote modify --local {name} url {pushed}`.",
            )
        if url is None:
            raise Mendable(f"The DVC remote '{name}' has no URL here.", f"Add it: `dvc remote add -d {name} URL`.")
        return RemoteConfig(name.lower(), url, options)


def parse(text: str, source: str = ".dvc/config") -> dict[str, dict[str, str]]:
    """Sections and their options as DVC writes them. Raises Mendable where that is not what `text` is."""
    if any(ord(character) < 32 and character not in "\t\n\r" for character in text):
        raise Mendable(f"{source} is malformed: it holds control characters.", "Mend it, or restore it from git.")
    parser = ConfigParser(
        interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#",), default_section=""
    )
    try:
        parser.read_string("\n".join(line.strip() for line in text.splitlines()))
    except Error as error:
        raise Mendable(
            f"{source} is malformed: {str(error).splitlines()[0]}.", "Mend it, or restore it from git."
        ) from error
    return {
        section.strip("'"): {key: value.strip("\"'") for key, value in parser[section].items()}
        for section in parser.sections()
    }


def effective(committed: str | None, machine: Sequence[str], derived: str = "") -> Config:
    """`machine` texts in order (system, user, clone; later ones win) over what is allowed of `committed`.

    `derived`: the name of the default that gitdata wrote itself, where nobody had named one; it yields to any other.
    """
    own: dict[str, dict[str, str]] = {}
    pushed: dict[str, dict[str, str]] = {}
    default: str | None = None
    texts = [(committed, True)] if committed is not None else []
    for text, is_committed in [*texts, *((text, False) for text in machine)]:
        for section, options in parse(text).items():
            if section == "core":
                named = options.get("remote")
                default = named if named and (named != derived or default is None) else default
            elif name := _remote_name(section):
                allowed = _allowed(name, options) if is_committed else options
                (pushed if is_committed else own).setdefault(name, {}).update(allowed)
    return Config(default.lower() if default else None, {**pushed, **own}, pushed)


def set_remote(text: str, name: str, url: str, *, default: bool) -> str:
    """`text` with a remote's URL set, and as the default if asked for; all else in it stays."""
    sections = parse(text, "config.local")
    if default:
        sections.setdefault("core", {})["remote"] = name
    sections.setdefault(f'remote "{name}"', {})["url"] = url
    return _encode(sections)


def _encode(sections: Mapping[str, Mapping[str, str]]) -> str:
    return "".join(
        f"[{_quoted(section)}]\n" + "".join(f"    {key} = {value}\n" for key, value in options.items())
        for section, options in sections.items()
    )


def without_default(text: str, name: str) -> str:
    """`text` without the default remote where that is `name`."""
    sections = parse(text, "config.local")
    if sections.get("core", {}).get("remote") != name:
        return text
    del sections["core"]["remote"]
    return _encode({section: options for section, options in sections.items() if options})


def machine_files() -> list[Path]:
    """The system's and the user's DVC configuration, where DVC looks for them."""
    import platformdirs

    system = os.environ.get("DVC_SYSTEM_CONFIG_DIR") or platformdirs.site_config_dir("dvc", "iterative")
    user = os.environ.get("DVC_GLOBAL_CONFIG_DIR") or platformdirs.user_config_dir("dvc", "iterative")
    return [Path(system) / "config", Path(user) / "config"]


def _remote_name(section: str) -> str | None:
    if section.startswith('remote "') and section.endswith('"'):
        return section.removeprefix('remote "').removesuffix('"').lower()
    return None


def _quoted(section: str) -> str:
    return f"'{section}'" if " " in section else section


def _allowed(name: str, options: Mapping[str, str]) -> dict[str, str]:
    """Of a committed remote: what says where it is. A folder of this machine is for this machine to name."""
    url = options.get("url", "")
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme and scheme not in _COMMITTED_SCHEMES:
        raise Mendable(
            f"The committed DVC remote '{name}' has a URL of the kind '{scheme}://', which a commit may not name.",
            "Configure it on this machine: `dvc remote add --local`.",
        )
    return {key: value for key, value in options.items() if key in COMMITTED_OPTIONS}
