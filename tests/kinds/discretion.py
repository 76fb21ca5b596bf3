"""What gatekeeper says of a declaration with a password in it, and that the password is never a part of that."""

import os
from pathlib import Path

from test_passwords import said_by


def is_discreet(declaration: str, secret: str, folder: Path) -> None:
    """See that no command says a secret of a declaration: in no output, no report, no file, no name of a process."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GATEKEEPER_")}
    environ["GATEKEEPER_DEPENDENCIES"] = f"it={declaration}"
    files = [folder / "report", folder / "message"]
    wait = ["wait", "-v", "--timeout=2", f"--report={files[0]}", f"--termination-log={files[1]}"]
    for argv in (
        ["plan"],
        ["plan", "--output=json"],
        ["check", "-v"],
        ["check", "--output=json"],
        [*wait, "--log-format=json", "--", "cat", "/proc/self/cmdline"],
    ):
        status, said = said_by(argv, environ, files)
        assert "it" in said
        assert status in (0, 1, 69, 124), said
        assert secret not in said, said
