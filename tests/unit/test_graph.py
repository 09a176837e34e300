"""The drawing of a DAG says what the DAG says: it is read back, line by line."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gitdata.report.graph import drawable, drawn_order, graph_lines

Dag = dict[str, list[str]]


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    """Up to twelve nodes, children first, with up to four parents each."""
    names = [f"n{number}" for number in range(draw(st.integers(1, 12)))]
    found = {}
    for number, name in enumerate(names):
        older = names[number + 1 :]
        found[name] = sorted(draw(st.sets(st.sampled_from(older), max_size=4))) if older else []
    return found


def drawing(dag: Dag) -> list[str]:
    return graph_lines(dag, dict.fromkeys(dag, "●"), {node: node for node in dag})


def read_back(lines: Sequence[str]) -> Dag:
    """The DAG that a drawing shows: each lane is followed down from child to parent."""
    lanes: dict[int, set[str]] = {}
    found: Dag = {}
    current, source = "", 0
    for line in lines:
        marks = line[::2]
        if "●" in line:
            drawn, current = line.split("  n")[0], "n" + line.rpartition("n")[2]
            marks, source = drawn[::2], drawn.index("●") // 2
            for child in lanes.pop(source, set()):
                found[child].append(current)
            found[current] = []
            lanes[source] = {current}
        else:
            (target,) = (n for n, mark in enumerate(marks) if mark in "├┤╮╭╯╰" and n != source)
            assert all(mark in "─┼" for mark in marks[min(source, target) + 1 : max(source, target)])
            lanes.setdefault(target, set()).add(current)
            if marks[source] in "╯╰":
                lanes.pop(source)
        lanes = {lane: children for lane, children in lanes.items() if lane == source or marks[lane : lane + 1].strip()}
    return {node: sorted(parents) for node, parents in found.items()}


@given(dags())
def test_a_drawing_can_be_read_back(dag: Dag) -> None:
    assert read_back(drawing(dag)) == dag


@given(dags(), st.randoms(use_true_random=False))
def test_children_stand_above_their_parents(dag: Dag, shuffler: random.Random) -> None:
    nodes = list(dag)
    shuffler.shuffle(nodes)
    order = drawn_order({node: dag[node] for node in nodes})
    assert sorted(order) == sorted(dag)
    assert all(order.index(node) < order.index(parent) for node, parents in dag.items() for parent in parents)


def test_a_merge_of_three_and_a_second_head() -> None:
    dag = {"head": ["b"], "joined": ["a2", "b", "c"], "a2": ["a1"], "a1": ["r"], "b": ["r"], "c": ["r"], "r": []}
    assert graph_lines(dag, dict.fromkeys(dag, "●"), {node: node for node in dag}) == [
        "●  head",
        "│ ●  joined",
        "├─┤",
        "│ ├─╮",
        "│ ● │  a2",
        "│ ● │  a1",
        "● │ │  b",
        "╰─┤ │",
        "  │ ●  c",
        "  ├─╯",
        "  ●  r",
    ]


def test_a_criss_cross_merge() -> None:
    dag = {"m1": ["a", "b"], "m2": ["a", "b"], "a": ["r"], "b": ["r"], "r": []}
    assert graph_lines(dag, dict.fromkeys(dag, "●"), {node: node for node in dag}) == [
        "●  m1",
        "├─╮",
        "│ │ ●  m2",
        "├─┼─┤",
        "│ ├─╯",
        "● │  a",
        "│ ●  b",
        "├─╯",
        "●  r",
    ]


def test_a_terminal_without_these_characters_gets_plain_ones() -> None:
    lines = drawing({"n0": ["n1", "n2"], "n1": [], "n2": []})
    assert drawable(lines, "utf-8") == lines
    assert drawable(lines, "ascii") == ["*  n0", "+-+", "* |  n1", "  *  n2"]


def test_hundreds_of_extensions_on_many_branches() -> None:
    dag = {f"n{number}": [f"n{max(0, number - 7)}"] if number else [] for number in range(600, -1, -1)}
    assert read_back(drawing(dag)) == dag
