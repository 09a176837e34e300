"""The pages: every command block of the tutorial and the operator's page is run; references agree with the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import reference
import servers
from world import Clone, Server

ROOT = Path(__file__).resolve().parents[2]


def blocks(page: str) -> list[tuple[str, str]]:
    """(what stands behind ```sh, text) of the shell blocks of a page."""
    return re.findall(r"^```sh *(\w*)\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)


def path_with_gitdata() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """All blocks in one shell, one after the other; the server is idle before anybody looks at what it did."""
    script = "\n".join(text for _, text in blocks("tutorial.md"))
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path_with_gitdata()},
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    assert len((tmp_path / "predicted.csv").read_text().splitlines()) == 11
    server = Server(tmp_path / "server.git")
    server.wait()
    assert [v["number"] for v in server.ledger()][:2] == [1, 2]
    assert any(v["champion"] and v["number"] == 1 for v in server.ledger())
    assert Clone(tmp_path / "work").git("status", "--porcelain") == ""
    assert list((tmp_path / "colleague" / "datasets").rglob("*.csv"))


@pytest.mark.slow
def test_an_operator_gets_from_an_empty_machine_to_a_training_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of the page, on a real sshd; folder and user are those of the test."""
    home, repositories = Path(os.environ["HOME"]), tmp_path / "srv"
    repositories.mkdir()
    with servers.ssh_server(tmp_path / "sshd", home) as ssh:
        ssh.name("server")
        monkeypatch.setenv("GIT_SSH_COMMAND", servers.ssh_command(home))
        from gitdata.automation.demo import SOURCE

        work = tmp_path / "workstation"
        work.mkdir()
        (work / "runs.csv").write_text("".join(SOURCE.read_text().splitlines(keepends=True)[:401]))
        folder = work
        for where, text in blocks("operate.md"):
            text = text.replace("/srv/git", str(repositories)).replace("git@server", "server")
            environment = {**os.environ, "PATH": path_with_gitdata()}
            if where == "server":
                prefix = f"export PATH={path_with_gitdata()}\n"
                command = [*servers.ssh_command(home).split(), "server", "sh", "-e", "-s"]
                done = subprocess.run(
                    command, input=prefix + text, capture_output=True, text=True, env=environment, check=False
                )
            else:
                assert where == "workstation"
                done = subprocess.run(
                    ["sh", "-e", "-c", text], cwd=folder, capture_output=True, text=True, env=environment, check=False
                )
            assert done.returncode == 0, (where, text, done)
            server = Server(repositories / "lattice.git")
            server.wait() if server.spool.jobs() else None
    assert list((repositories / "lattice.git" / "gitdata" / "remote" / "files" / "md5").rglob("*.dir"))
    assert not (repositories / "lattice.git" / "hooks" / "post-receive").exists()


def test_every_command_and_option_is_documented() -> None:
    assert reference.COMMANDS.read_text() == reference.commands_page(), "write it anew: python tests/docs/reference.py"
    grouped = [name for names in reference.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(reference.commands())
    for name, command in reference.commands().items():
        assert command.help, name
        for option in command.params:
            assert option.param_type_name == "argument" or option.help, (name, option.name)


def test_a_command_that_is_made_alone_is_the_one_among_all() -> None:
    from gitdata.cli.shared import command_line

    for name, command in reference.commands().items():
        (alone,) = command_line([name]).commands.values()
        context = command.context_class(command, info_name=name)
        assert (alone.name, alone.get_help(context)) == (name, command.get_help(context))
    assert len(command_line(["statsu"]).commands) == len(command_line([]).commands) > 30


def test_every_message_is_documented() -> None:
    assert reference.MESSAGES.read_text() == reference.messages_page(), "write it anew: python tests/docs/reference.py"


def test_every_message_names_a_next_step() -> None:
    """An error without one leaves a person alone; a few name what is known and nothing can be done about."""
    alone = {text for code, text, step in reference.messages() if not step}
    assert alone <= {"…"}, alone
