"""Graph: a DAG drawn in text, children above their parents, as `git log --graph` draws commits.

A *lane* is a column of the drawing in which a line runs down to the parent that it waits for. Every node stands on a
line of its own; a line of edges follows for each parent that is not straight below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Lanes = list[str | None]

_PLAIN = str.maketrans("●○×│─├┤┼╮╭╯╰", "*ox|-+++++++")


def drawn_order(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """The nodes, each before its parents, and a branch without others in between; ties go by the order of `parents`."""
    waiting = dict.fromkeys(parents, 0)
    for ancestors in parents.values():
        for parent in ancestors:
            waiting[parent] += 1
    ready = [node for node, children in waiting.items() if not children]
    ready.reverse()
    order = []
    while ready:
        node = ready.pop()
        order.append(node)
        for parent in reversed(parents[node]):
            waiting[parent] -= 1
            if not waiting[parent]:
                ready.append(parent)
    return order


def graph_lines(parents: Mapping[str, Sequence[str]], glyphs: Mapping[str, str], texts: Mapping[str, str]) -> list[str]:
    """The drawing, a node's text beside it. `parents` holds every node; all of them are drawn."""
    lanes: Lanes = []
    lines = []
    ended = -1
    for node in drawn_order(parents):
        lane = lanes.index(node) if node in lanes else _take(lanes, node, ended)
        width = max(len(lanes), lane + 1)
        marks = [glyphs[node] if n == lane else _passing(lanes, n) for n in range(width)]
        lines.append(f"{' '.join(marks)}  {texts[node]}")
        lines += _edges(lanes, lane, parents[node])
        ended = -1 if parents[node] else lane
        while lanes and lanes[-1] is None:
            lanes.pop()
    return lines


def drawable(lines: Sequence[str], encoding: str) -> list[str]:
    """The lines in plain characters where a terminal's encoding does not have those of the drawing."""
    try:
        "".join(lines).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return [line.translate(_PLAIN) for line in lines]
    return list(lines)


def _take(lanes: Lanes, node: str, ended: int = -1) -> int:
    """A free lane, which from now on waits for the node; not the one that ended in the line above."""
    lane = next(n for n in range(len(lanes) + 2) if n != ended and (n >= len(lanes) or lanes[n] is None))
    lanes += [None] * (lane + 1 - len(lanes))
    lanes[lane] = node
    return lane


def _edges(lanes: Lanes, lane: int, parents: Sequence[str]) -> list[str]:
    """Lead the node's lane to its parents: the first that no lane waits for lies straight below."""
    straight = next((parent for parent in parents if parent not in lanes), None)
    others = [parent for parent in parents if parent != straight]
    lanes[lane] = straight
    lines = []
    for number, parent in enumerate(others, 1):
        is_new = parent not in lanes
        target = _take(lanes, parent) if is_new else lanes.index(parent)
        ends = straight is None and number == len(others)
        lines.append(_edge(lanes, lane, target, is_new=is_new, ends=ends))
    return lines


def _edge(lanes: Lanes, lane: int, target: int, *, is_new: bool, ends: bool) -> str:
    """A line from one lane to another: `ends` where the first one goes no further, `is_new` where the other begins."""
    left, right = sorted((lane, target))
    marks = [_passing(lanes, number) for number in range(len(lanes))]
    marks[lane] = _corner(target > lane, "╰╯" if ends else "├┤")
    marks[target] = _corner(target < lane, "╭╮" if is_new else "├┤")
    for between in range(left + 1, right):
        marks[between] = "─" if lanes[between] is None else "┼"
    text = ""
    for number, mark in enumerate(marks):
        text += mark + ("─" if left <= number < right else " ")
    return text.rstrip()


def _corner(opens_right: bool, pair: str) -> str:
    return pair[0] if opens_right else pair[1]


def _passing(lanes: Lanes, lane: int) -> str:
    return " " if lane >= len(lanes) or lanes[lane] is None else "│"
