"""The ledger of a pushed commit: which files are read to judge it. The rules themselves are in `ledger_rules`."""

from __future__ import annotations

from collections.abc import Iterator, Set

from gitdata.commands.finding import Finding
from gitdata.commands.received import ledger_rules
from gitdata.commands.received.commit import PushedCommit
from gitdata.commands.received.stores import Stores
from gitdata.data.pointer import ModelVersion
from gitdata.snapshot import MODELS


class PushedLedger(PushedCommit):
    """The ledger, or a branch that is to be merged into it."""

    def findings(self) -> Iterator[Finding]:
        yield from super().findings()
        versions: dict[str, ModelVersion] = {}
        models = {d.path.split("/")[1] for d in self.differences[0] if ledger_rules.is_read(d.path)}
        before, after = self._files(self.bases[0], models), self._files(self.commit, models)
        for model in sorted(models):
            was, now = before.get(model, {}), after.get(model, {})
            yield from ledger_rules.ledger_findings(model, was, now)
            versions |= ledger_rules.new_versions(model, was, now)
        yield from Stores(self.repo, self.git, self.commit).lacking_packages(versions)

    def _files(self, commit: str | None, models: Set[str]) -> dict[str, dict[str, bytes]]:
        """The files of some models by model and name."""
        entries = self.git.tree(commit, MODELS) if commit else []
        wanted = [e for e in entries if ledger_rules.is_read(e.path) and e.path.split("/")[1] in models]
        found: dict[str, dict[str, bytes]] = {}
        for path, content in self.read(wanted).items():
            _, model, name = path.split("/", 2)
            found.setdefault(model, {})[name] = content
        return found
