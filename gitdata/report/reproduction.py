"""A reproduction as people read it: what was trained again, how far it is from what is recorded, what may be why."""

from __future__ import annotations

from gitdata.commands.records import Record
from gitdata.report.tables import number, plural


def reproduction_lines(record: Record) -> list[str]:
    """The outcome first, then what differs."""
    name = f"{record['model']}@{record['number']} ({record.id[:8]})"
    lines = [f"{name}, trained again {_how(record)}: {_outcome(record)}"]
    lines += [f"  contradiction: {told}" for told in record["contradictions"]]
    if record["outcome"] != "equal":
        lines += _differences(record)
    lines += _environment(record)
    before = "" if record["seconds_recorded"] is None else f"; {record['seconds_recorded']:.1f} s are recorded"
    return [*lines, f"  {record['seconds']:.1f} s of training{before}"]


def _how(record: Record) -> str:
    parent = "from scratch" if record["parent"] is None else f"from version {record['parent']}"
    return f"by {record['method']} {parent}, at commit {record['commit'][:8]}"


def _outcome(record: Record) -> str:
    if record["outcome"] == "equal":
        return "equal, bit for bit" + (", but for the programs that made it" if record["parts"] else "")
    if record["outcome"] == "close":
        return f"the same within the bound ({record['bound']:g}), not bit for bit"
    return "it is another version"


def _differences(record: Record) -> list[str]:
    lines = [f"  different files of the package: {', '.join(record['parts'])}"]
    if record["weights"] is None:
        return [*lines, "  the networks are not alike: other layers, inputs or outputs"]
    lines.append(f"  weights: by up to {number(record['weights'])}")
    if record["answers"] is not None:
        rows = f"{plural(record['rows'], 'test row')}" if record["rows"] else "validation rows"
        lines.append(
            f"  answers on {rows}: by up to {number(record['answers'])} (standardised, or of a logit; "
            f"at most {record['bound']:g})"
        )
    if record["loss"] is not None:
        share = f"{record['loss_difference']:.2%}"
        lines.append(
            f"  {record['metric']}: {number(record['loss_again'])}, recorded {number(record['loss'])}: {share} "
            f"(at most {record['bound']:.0%})"
        )
    if record["outcome"] == "different" and record["gate"] is not None:
        lower, ratio, upper = (record["gate"][name] for name in ("lower", "ratio", "upper"))
        lines.append(
            f"  at the gate, beside what is recorded: loss {ratio:.3f} × (90 % interval {lower:.3f}–{upper:.3f})"
        )
    return lines


def _environment(record: Record) -> list[str]:
    then, now = record["environment"]["recorded"], record["environment"]["now"]
    differs = record["environment"]["differs"]
    found = [f"  {name}: {then.get(name) or 'none'} then, {now.get(name) or 'none'} now" for name in differs]
    if found or record["outcome"] == "equal":
        return found
    if "features" not in then:
        return ["  the programs are those of then; of the processor nothing is recorded"]
    return ["  programs, processor and devices are those of then"]
