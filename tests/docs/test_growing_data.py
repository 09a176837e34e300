"""The guide on growing data does what it says, and says what it does."""

from __future__ import annotations

from pathlib import Path

import pytest
import transcript

PAGE = Path(__file__).resolve().parents[2] / "docs" / "growing-data.md"


@pytest.mark.slow
def test_every_block_of_the_guide_prints_what_the_page_shows(tmp_path: Path, shared_data: Path) -> None:
    """Anew: `python tests/docs/transcript.py docs/growing-data.md DATA`."""
    page = PAGE.read_text()
    assert transcript.differences(page, transcript.run(page, tmp_path, shared_data)) == []


def test_the_guide_has_no_block_that_is_not_run() -> None:
    """Another kind of block would look as if it were tested."""
    page = PAGE.read_text()
    fences = [line for line in page.splitlines() if line.startswith("```") and line != "```"]
    assert len(fences) == len(transcript.BLOCK.findall(page)) > 10


@pytest.mark.parametrize(
    ("shown", "printed", "agree"),
    [
        ("a … c\n", "a b c\n", True),
        ("a … c\n", "a b\nc\n", False),
        ("a\n…\n", "a\nb\nc\n", True),
        ("a\n", "a  \n", True),
        ("a\n", "a\nb\n", False),
        ("", "a\n", False),
        ("1.0.0-0123abcd\n", "1.0.0-89abcdef\n", True),
        ("0123abcd 0123abcd\n", "89abcdef 89abcdef\n", True),
        ("0123abcd 0123abcd\n", "89abcdef 01234567\n", False),
        ("0123abcd 4567abcd\n", "89abcdef 89abcdef\n", False),
    ],
)
def test_what_a_page_shows_is_compared_line_by_line(shown: str, printed: str, agree: bool) -> None:
    assert transcript.agrees(shown, printed, {}) == agree


def test_a_page_that_lies_is_found_out(tmp_path: Path) -> None:
    transcript_of = "$ echo $x\n1\n$ cat <<END\n> two\n> END\nthree\n$ false\n$ false\n$ echo $?\n1\n"
    page = f"```sh\nx=1\n```\n\n```console\n{transcript_of}```\n"
    found = transcript.differences(page, transcript.run(page, tmp_path, tmp_path))
    assert [line.splitlines()[0] for line in found] == ["cat <<END", "false: exit 1"]
