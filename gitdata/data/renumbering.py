"""Renumbering: which extension gives up a label that several carry, and which label it gets. Pure.

After a merge two extensions may carry one label. The one that is not *settled*, that is on the deployment branch as
the git remote has it, yields; if both or neither are, the later one in `Chain.ordered`. Ids decide, so that every clone
comes to the same result.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from gitdata.data.chain import Chain, next_version
from gitdata.data.pointer import version_key


def new_labels(chain: Chain, settled: Set[str]) -> dict[str, str]:
    """The new label of each extension that yields, by id. The closure of all extensions must be complete."""
    found: dict[str, str] = {}
    for label, ids in sorted(chain.double_versions.items(), key=lambda item: version_key(item[0])):
        carriers = sorted(chain.ordered(ids), key=lambda extension: extension.id not in settled)
        for extension in carriers[1:]:
            trains = extension.rows_of("train") > 0
            found[extension.id] = new = next_version(chain, extension.parents, trains=trains)
            chain = relabelled(chain, extension.id, new)
            assert new != label
    return found


def relabelled(chain: Chain, id: str, version: str) -> Chain:
    """The chain in which an extension has another label; no id changes."""
    return replace(chain, extensions={**chain.extensions, id: replace(chain.extensions[id], version=version)})
