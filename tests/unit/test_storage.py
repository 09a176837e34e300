"""Cache and configuration: write-once blobs in DVC's layout, and no trust in what was committed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitdata.errors import DataUnavailable, Mendable
from gitdata.storage import config
from gitdata.storage.cache import Blob, Cache, directory_object, hash_file, parse_directory_object


def test_a_blob_is_written_once_and_delivered_verified(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    source = tmp_path / "source"
    source.write_bytes(b"rows" * 1000)
    blob = cache.add_file(source)
    path = cache.path(blob)
    assert path.read_bytes() == source.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o444
    assert cache.add_file(source) == blob == hash_file(source)
    inode = path.stat().st_ino
    cache.add_file(source)
    assert path.stat().st_ino == inode
    cache.deliver(blob, tmp_path / "there" / "file")
    assert (tmp_path / "there" / "file").read_bytes() == source.read_bytes()
    assert list(tmp_path.rglob(".gitdata-tmp-*")) == []


def test_a_delivered_file_that_is_changed_leaves_the_blob_alone(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    blob = cache.add_bytes(b"rows")
    cache.deliver(blob, tmp_path / "file")
    with (tmp_path / "file").open("ab") as file:
        file.write(b"more")
    assert cache.read(blob) == b"rows"


@pytest.mark.parametrize("content", [b"", b"rowz", b"rows and more"])
def test_a_corrupt_blob_is_set_aside_and_never_delivered(tmp_path: Path, content: bytes) -> None:
    cache = Cache(tmp_path / "cache")
    blob = cache.add_bytes(b"rows")
    cache.path(blob).chmod(0o644)
    cache.path(blob).write_bytes(content)
    assert not cache.verify(blob)
    with pytest.raises(DataUnavailable, match="set aside"):
        cache.deliver(blob, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert [p.read_bytes() for p in (tmp_path / "cache" / "corrupt").iterdir()] == [content]
    assert cache.add_bytes(b"rows") == blob
    assert cache.read(blob) == b"rows"


def test_adding_what_is_there_corrupt_puts_the_good_in_its_place(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    blob = cache.add_bytes(b"rows")
    cache.path(blob).chmod(0o644)
    cache.path(blob).write_bytes(b"rowz")
    cache.add_bytes(b"rows")
    assert cache.verify(blob)


def test_a_missing_blob_is_named(tmp_path: Path) -> None:
    blob = Blob("0" * 32, 3, "0" * 64)
    with pytest.raises(DataUnavailable, match="0" * 32):
        Cache(tmp_path).read(blob)
    assert not Cache(tmp_path).holds(blob)


paths = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\"), min_size=1, max_size=8
).filter(lambda name: name not in (".", ".."))


@given(st.dictionaries(paths, st.binary(max_size=10), min_size=1, max_size=6))
def test_directory_objects_are_dvcs_own(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta
    from dvc_data.hashfile.tree import Tree

    cache = Cache(tmp_path_factory.getbasetemp() / "cache")
    blobs = {f"train/{name}": cache.add_bytes(content) for name, content in files.items()}
    blob, content = directory_object(blobs)
    tree = Tree()
    for path, part in blobs.items():
        tree.add(tuple(path.split("/")), Meta(), HashInfo("md5", part.md5))
    tree.digest()
    assert tree.oid == blob.md5
    assert tree.as_bytes() == content
    assert parse_directory_object(content) == {path: part.md5 for path, part in blobs.items()}


@given(st.binary(max_size=60))
def test_reading_a_directory_object_never_crashes(content: bytes) -> None:
    with suppress(DataUnavailable):
        assert parse_directory_object(content) == {}


HOSTILE = """\
[core]
    remote = store
    autostage = true
[cache]
    dir = /tmp/elsewhere
['remote "store"']
    url = webdavs://host/path
    bearer_token_command = touch /tmp/owned
    password = secret
    keyfile = /root/.ssh/id_rsa
    credentialpath = /root/.aws
    ssl_verify = false
    endpointurl = https://s3.invalid
"""


def test_of_committed_configuration_only_where_things_are_is_taken() -> None:
    found = config.effective(HOSTILE, [])
    remote = found.remote("store")
    assert found.default_remote == "store"
    assert (remote.url, remote.options) == ("webdavs://host/path", {"endpointurl": "https://s3.invalid"})


def test_this_machine_may_say_all_and_wins() -> None:
    machine = """\
['remote "store"']
    url = /mnt/store
    user = me
[core]
    remote = mine
['remote "mine"']
    url = s3://b
"""
    found = config.effective(HOSTILE, ["", machine])
    assert found.default_remote == "mine"
    assert found.remote("store").url == "/mnt/store"
    assert found.remote("store").options["user"] == "me"
    assert "bearer_token_command" not in found.remote("store").options


@pytest.mark.parametrize("url", ["file:///etc", "ext::sh -c touch", "github://x", "local://x", "memory://x"])
def test_a_commit_names_no_odd_kind_of_remote(url: str) -> None:
    committed = f"['remote \"r\"']\n    url = {url}\n"
    if "://" in url:
        with pytest.raises(Mendable, match="may not name"):
            config.effective(committed, [])
        assert config.effective(None, [committed]).remote("r").url == url


@pytest.mark.parametrize("text", ["[core", "remote = x", "[core]\nremote", "\0"])
def test_malformed_configuration_is_named(text: str) -> None:
    with pytest.raises(Mendable, match="malformed"):
        config.effective(text, [])


names = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)


@given(st.dictionaries(names, st.sampled_from(["/a b/c", "s3://bucket/x", "../up"]), min_size=1, max_size=4), names)
def test_a_remote_that_is_set_is_read_back_and_the_rest_stays(others: dict[str, str], name: str) -> None:
    text = "[core]\n    analytics = false\n"
    for other, url in others.items():
        text = config.set_remote(text, other, url, default=False)
    text = config.set_remote(text, name, "/new", default=True)
    found = config.effective(None, [text])
    assert found.default_remote == name
    assert found.remote(name).url == "/new"
    assert all(found.remote(other).url == url for other, url in others.items() if other != name)
    assert "analytics = false" in text
    assert config.set_remote(text, name, "/new", default=True) == text
