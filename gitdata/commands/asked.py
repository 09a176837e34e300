"""Asked: whether what a person asks for goes together, and with what the repository holds.

All of it is refused before a file is read.
"""

from __future__ import annotations

from collections.abc import Iterable

from gitdata.commands.intake import Request
from gitdata.data.chain import Chain
from gitdata.data.pointer import Extension
from gitdata.errors import Mendable
from gitdata.repo import Repo
from gitdata.snapshot import DATASETS, RETRACTED


def check_request(request: Request) -> None:
    """Raises Mendable where what is asked for does not go together."""
    if request.test_policy == "drop" and request.test is not None:
        raise Mendable(
            "With --test-policy drop there are no test rows any more, so nobody would see those of --test.",
            "To test on these rows alone: `--test-policy replace`; to go without: leave --test out.",
        )
    if request.grown is None:
        if request.again:
            raise Mendable("--again is about a grown file; rows of any other are taken anyway.", "Leave it out.")
        return
    if len(request.files) != 1 or request.files[0].is_dir():
        raise Mendable("--grown is about one file that holds the whole data set.", "Name exactly one file.")
    if request.dedupe:
        raise Mendable(
            "--grown leaves out what the dataset holds; beside it --dedupe would part the dataset from the file.",
            "Leave one of them out.",
        )


def check_parents(request: Request, chain: Chain, parents: Iterable[str]) -> None:
    """Raises Mendable for a grown file on what was replaced: nothing of it is live, so all of the file would be new."""
    replaced = [chain.extensions[parent] for parent in parents if parent in chain.replaced]
    if request.grown is not None and replaced:
        old, dataset = replaced[0], request.dataset
        raise Mendable(
            f"{dataset}@{old.version} ({old.short}) was replaced; beside what took its place, a grown file would stand "
            "twice.",
            f"Leave --parent out: `gitdata extend {dataset} --grown {request.files[0]}`.",
        )


def check_committed(repo: Repo, request: Request, chain: Chain, begun: Iterable[str]) -> None:
    """Raises Mendable where the commit of an extension would leave out a retraction that it was made beside.

    `begun`: ids of extensions whose retraction this very commit takes along.
    """
    if request.message is None:
        return
    folder = f"{DATASETS}/{request.dataset}/{RETRACTED}"
    listing = repo.git.try_text("ls-tree", "-r", "--name-only", "--full-tree", "HEAD", "--", folder) or ""
    committed = {path.rpartition("/")[2].removesuffix(".json") for path in listing.splitlines()}
    known = chain.extensions.keys() - set(begun)  # of what no pointer names nothing follows
    if open_ones := sorted((chain.retracted ^ committed) & known):
        id = open_ones[0]
        extension = chain.extensions[id]
        name = f"{request.dataset}@{extension.version} ({extension.short})"
        what = "The retraction of" if id in chain.retracted else "That the retraction was undone of"
        raise Mendable(
            f"{what} {name} is not committed: the extension would be made beside it, and committed without.",
            f"Commit it first: `git commit -- {folder}`.",
        )


def check_generation(request: Request) -> None:
    """Raises Mendable where a new generation is to have the label of something that extends another."""
    if request.version is not None and not request.version.endswith(".0.0"):
        raise Mendable(
            f"Version {request.version} is no label of a new base, which takes the place of the heads.",
            "Give it N.0.0, or leave --version out: it is the next major then.",
        )


def require_extension(
    request: Request, chain: Chain, live: Iterable[Extension], overwritten: Iterable[Extension]
) -> None:
    """Raises Mendable where a grown file brings no row, though an extension is needed for what is asked for."""
    name = f"'{request.files[0]}' brings no row that is new"
    for old in overwritten:
        raise Mendable(
            f"{name}, so nothing can take the place of {request.dataset}@{old.version} ({old.short}).",
            f'To take it out: `gitdata retract {request.dataset}@{old.short} --reason "…"`.',
        )
    is_tested = bool(chain.contributing((extension.id for extension in live), "test"))
    if is_tested and request.test_policy != "add" and request.test is None:
        raise Mendable(
            f"{name}, so there is no extension that could {request.test_policy} the test rows.",
            "Leave --test-policy out, or give it with the next rows.",
        )
