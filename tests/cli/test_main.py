"""The entry point: what it imports, its exit status, and a reader who goes away."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from tiercel_cli.main import SUMMARIES, main


def test_help_names_every_command_and_the_exit_status_without_loading_any():
    program = (
        "import sys; from click.testing import CliRunner; from tiercel_cli.main import main\n"
        "print(CliRunner().invoke(main, ['--help']).output)\n"
        "print(sorted(name for name in sys.modules if name.startswith(('tiercel_agent', 'tiercel_engine.'))))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    for name, summary in SUMMARIES.items():
        assert name in output
        assert summary in output
    assert "3  this machine can't be watched" in output
    assert output.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", SUMMARIES)
def test_every_command_is_there_and_explains_itself(command: str):
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: main {command}")


@pytest.mark.parametrize(
    ("command", "forbidden"),
    [
        *((command, "tiercel_agent") for command in ("fields", "convert", "replay")),
        *((command, module) for command in ("lint", "explain") for module in ("tiercel_agent.kernel", "bcc")),
    ],
)
def test_the_tools_need_no_agent(command: str, forbidden: str):
    program = (
        "import sys; from click.testing import CliRunner; from tiercel_cli.main import main\n"
        f"CliRunner().invoke(main, ['{command}', '--help'])\n"
        f"print([name for name in sys.modules if name.startswith('{forbidden}')])"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["fields", "--nonsense"], ["detect", "extra"]])
def test_wrong_usage_is_status_two(arguments: list[str]):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "Error:" in result.output


def test_the_version_is_the_distributions():
    assert CliRunner().invoke(main, ["--version"]).output == f"tiercel {version('tiercel')}\n"


def test_a_reader_who_goes_away_gets_no_traceback():
    tool = [sys.executable, "-c", "from tiercel_cli.main import main; main()", "fields", "--json"]
    with subprocess.Popen(tool, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text("- rule: R\n  desc: d\n  condition: evt.type = open\n  output: o\n  priority: INFO\n")
    (tmp_path / "events.jsonl").write_text('{"source": "syscall", "time": 1, "fields": {"evt.type": "open"}}\n')
    return path


COMMANDS = {
    "lint": "lint rules.yaml",
    "lint --json": "lint --json rules.yaml",
    "convert": "convert rules.yaml",
    "fields": "fields",
    "replay": "replay events.jsonl -r rules.yaml --summary",
}


def run(rules: Path, command: str, redirection: str) -> subprocess.CompletedProcess[str]:
    tool = f"{sys.executable} -c 'from tiercel_cli.main import main; main()' {command} {redirection}"
    return subprocess.run(["sh", "-c", tool], cwd=rules.parent, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_full_disk_is_told_in_one_line(rules: Path, command: str):
    result = run(rules, command, ">/dev/full")
    assert (result.returncode, result.stderr) == (1, "Error: standard output: No space left on device\n")


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_closed_standard_streams_are_as_dev_null(rules: Path, command: str, redirection: str):
    result = run(rules, command, redirection)
    assert (result.returncode, result.stderr) == (0, "")
    assert bool(result.stdout) == (">&-" not in redirection.replace("2>&-", ""))
