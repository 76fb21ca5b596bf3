"""What README.md says is what the program does: its commands run, its tables are those of the code."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gatekeeper.model import Reason
from gatekeeper.notify import read
from gatekeeper.options import COMMON, GATE, spelled
from gatekeeper.probes import KINDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^\$ (.+)$", README, re.MULTILINE)


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def gatekeeper(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run gatekeeper in the checkout and return what came of it."""
    command = [sys.executable, "-m", "gatekeeper", *arguments]
    return subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("gatekeeper notify")])
def test_every_notification_is_understood(command: str) -> None:
    """What a script may say is sent; the command that would follow is not here."""
    assert read(shlex.split(command)[2:]).assignments


@pytest.mark.parametrize(
    "command",
    [each for each in COMMANDS if each.startswith("gatekeeper") and not each.startswith("gatekeeper notify")],
)
def test_every_command_is_a_good_declaration(command: str) -> None:
    """Each command line of the README is understood: planned where it would wait for what is not here."""
    words = shlex.split(command)[1:]
    if "--" in words:
        words = words[: words.index("--")]
    done = gatekeeper("plan", *words[1:])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [each for each in COMMANDS if not each.startswith("gatekeeper")])
def test_every_other_command_is_a_target_of_the_makefile(command: str) -> None:
    """What is not gatekeeper itself is made."""
    make, target = command.split()
    assert make == "make"
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_manifest_starts_with_a_good_declaration() -> None:
    """The init container's arguments are understood."""
    manifest = yaml.safe_load(blocks("yaml")[0])
    (container,) = manifest["spec"]["template"]["spec"]["initContainers"]
    assert container["args"][0] == "wait"
    assert gatekeeper("plan", *container["args"][1:]).returncode == 0


def test_the_plan_file_is_understood() -> None:
    """The plan of the README is a good one."""
    assert gatekeeper("plan", "-f", "-", text=blocks("yaml")[1]).returncode == 0


def test_the_python_example_runs() -> None:
    """The example of the library runs as it stands."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[0]],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "127.0.0.1:5432" in done.stdout


def test_the_problems_are_told_as_shown() -> None:
    """The bad declaration of the README is told in just these words."""
    shown = next(block for block in blocks("text") if "problems" in block)
    done = gatekeeper("wait", "db=tcp://db:5432 atempt_timeout=1s", "pg=tpc://x:1", "x=tcp://a:99999", "-t", "5x")
    assert (done.returncode, done.stderr) == (2, shown)


def test_the_tables_are_those_of_the_code() -> None:
    """Every reason with its meaning, every option and every kind stands in a table."""
    for reason in Reason:
        assert f"| `{reason}` | {reason.meaning} |" in README
    for option in GATE:
        assert f"`{spelled(option)}" in README.replace("`-f`, ", "").replace("`-t`, ", ""), option
    for option in COMMON:
        assert f"`{option}`" in README, option
    for kind in KINDS:
        assert f"`{kind}:" in README, kind
