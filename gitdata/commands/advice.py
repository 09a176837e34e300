"""Advice: what of a commit is worth a word before it is pushed, and stops nobody."""

from __future__ import annotations

from gitdata.data.chain import missing_parents
from gitdata.data.pointer import SHORT
from gitdata.snapshot import Snapshot


def advice(snapshot: Snapshot) -> list[str]:
    """A sentence for each label that stands for several extensions, and for each ancestor that is not there."""
    lines = []
    for dataset, chain in sorted(snapshot.chains.items()):
        lines += [
            f"Version {label} of '{dataset}' stands for {', '.join(id[:SHORT] for id in ids)}: "
            f"`gitdata renumber {dataset}` settles it."
            for label, ids in chain.double_versions.items()
        ]
        lines += [
            f"The pointer of {dataset}@{extension.version} ({extension.short}) was deleted, but others extend it: it "
            f"counts as retracted. Better: bring it back, then `gitdata retract {dataset}@{extension.short}`."
            for extension in (chain.extensions[id] for id in sorted(chain.lost))
        ]
        lines += [
            f"An extension of '{dataset}' names the parent {id[:SHORT]}, whose pointer is neither here nor in history."
            for id in sorted(missing_parents(chain.extensions))
        ]
    return lines
