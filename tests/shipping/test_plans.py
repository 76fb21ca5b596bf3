"""The example plan files: one plan in three formats, read as a user reads it before using it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLANS = ["shop.json", "shop.toml", "shop.yaml"]


def planned(file: Path, output: str) -> str:
    """Return what `gatekeeper plan` says of a file, in an environment without variables of gatekeeper."""
    gatekeeper = Path(sys.executable).with_name("gatekeeper")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GATEKEEPER_")}
    done = subprocess.run(
        [gatekeeper, "plan", "--file", file, "--output", output],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environ | {"SMTP_HOST": "smtp.example"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def values(file: Path) -> Any:
    """Return the plan that a file amounts to, without its places."""
    plan = json.loads(planned(file, "json"))
    for dependency in plan["dependencies"]:
        del dependency["origin"]
        dependency["options"] = {key: option["value"] for key, option in dependency["options"].items()}
    plan["gate"] = {key: option["value"] for key, option in plan["gate"].items() if key != "file"}
    return plan


def test_every_plan_is_tried(root: Path) -> None:
    """No example plan is left out of these tests."""
    assert sorted(path.name for path in (root / "examples/plans").iterdir()) == PLANS


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_good_as_it_stands(root: Path, name: str) -> None:
    """Each plan names four dependencies, and each value has its place in the file."""
    file = root / "examples/plans" / name
    page = planned(file, "text")
    assert f"mail: tcp://smtp.example:25 ({file}: dependencies.mail)" in page
    assert f"{file}: dependencies.prices.attempt_timeout" in page


@pytest.mark.parametrize("name", PLANS)
def test_the_formats_say_the_same(root: Path, name: str) -> None:
    """The three files amount to one plan."""
    plan = values(root / "examples/plans" / name)
    assert plan == values(root / "examples/plans/shop.yaml")
    assert [dependency["name"] for dependency in plan["dependencies"]] == ["db", "prices", "cache", "mail"]
    assert [dependency["required"] for dependency in plan["dependencies"]] == [True, True, True, False]
