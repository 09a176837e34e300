"""Index: what git knows, without reading them, of the files in the work tree."""

from __future__ import annotations

from gitdata.storage.git import Git

_KNOWN = "H"  # `ls-files -v`: in the index; in lower case, or `S`, git was told not to look at the file


def unchanged(git: Git, *paths: str) -> dict[str, str]:
    """The files below `paths` that are as git's index has them, with the names of their objects.

    One process, and one stat a file. What is modified, unmerged, or exempt from being looked at is left out.
    """
    listing = git.run("ls-files", "--stage", "--cached", "--modified", "-v", "-z", "--", *paths)
    found: dict[str, str] = {}
    for entry in listing.decode(errors="surrogateescape").split("\0"):
        description, _, path = entry.partition("\t")
        if description.startswith(_KNOWN) and description.endswith(" 0"):
            found[path] = description.split(" ")[2]
        else:
            found.pop(path, None)  # a modified file stands there twice, as `H` and as `C`
    return found
