"""The store of a git URL: whole paths on a host lead to one, what a forge or a login folder names does not."""

from __future__ import annotations

import pytest

from gitdata.store import over_ssh


@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("host:/srv/r.git", "ssh://host/srv/r.git/gitdata/remote"),
        ("me@host:/srv/r.git/", "ssh://me@host/srv/r.git/gitdata/remote"),
        ("host:/srv/a%20b", "ssh://host/srv/a%20b/gitdata/remote"),
        ("ssh://me@host:2222/srv/r", "ssh://me@host:2222/srv/r/gitdata/remote"),
        ("ssh://host/srv/a%20b.git", "ssh://host/srv/a b.git/gitdata/remote"),
        ("git+ssh://host/srv/r", "ssh://host/srv/r/gitdata/remote"),
        ("git@forge.example:team/r.git", None),
        ("host:~/r.git", None),
        ("host:~me/r.git", None),
        ("ssh://host/~/r.git", None),
        ("ssh://host/~me/r.git", None),
        ("ssh://host", None),
        ("ssh://host/", None),
        ("host:/srv/a#b", None),
        ("ssh://host/srv/a%23b", None),
        ("ssh://host/%7E/r.git", None),
        ("https://host/srv/r.git", None),
        ("git://host/srv/r.git", None),
    ],
)
def test_a_whole_path_on_a_host_has_a_store(url: str, store: str | None) -> None:
    assert over_ssh(url) == store
