"""The ledger of a pushed commit: which files are read to judge it. The rules themselves are in `ledger_rules`."""

from __future__ import annotations

from collections.abc import Iterator

from gitdata.commands.finding import Finding
from gitdata.commands.received import ledger_rules, rules
from gitdata.commands.received.commit import PushedCommit
from gitdata.commands.received.stores import Stores
from gitdata.data.pointer import ModelVersion
from gitdata.snapshot import MODELS


class PushedLedger(PushedCommit):
    """The ledger, or a branch that is to be merged into it."""

    def findings(self) -> Iterator[Finding]:
        yield from rules.links({path: entry.mode for path, entry in self.brought.items()})
        versions: dict[str, ModelVersion] = {}
        for model in sorted({path.split("/")[1] for path in self._changed()}):
            before, after = self._files(self.bases[0], model), self._files(self.commit, model)
            yield from ledger_rules.ledger_findings(model, before, after)
            versions |= ledger_rules.new_versions(model, before, after)
        yield from Stores(self.repo, self.git, self.commit).lacking_packages(versions)

    def _changed(self) -> list[str]:
        return [d.path for d in self.differences[0] if d.path.count("/") > 1 and d.path.startswith(f"{MODELS}/")]

    def _files(self, commit: str | None, model: str) -> dict[str, bytes]:
        """The files of a model by name."""
        folder = f"{MODELS}/{model}"
        entries = self.git.tree(commit, folder) if commit else []
        wanted = [e for e in entries if e.is_plain_file and ledger_rules.is_read(e.path)]
        return {path.removeprefix(f"{folder}/"): content for path, content in self.read(wanted).items()}
