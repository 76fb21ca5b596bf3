"""What gatekeeper says of declarations with a secret in them, whatever the command: the secret is no part of that."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def said_by(argv: Sequence[str], declarations: str, files: Sequence[Path], **variables: str) -> tuple[int, str]:
    """Run gatekeeper with declarations, a line each; return its status, and all it said, wrote, and was called."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GATEKEEPER_")}
    everything = []
    with subprocess.Popen(
        [sys.executable, "-m", "gatekeeper", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ | variables | {"GATEKEEPER_DEPENDENCIES": declarations},
    ) as process:
        for name in ("cmdline", "comm"):
            with suppress(OSError):  # it may have ended
                everything.append(Path(f"/proc/{process.pid}/{name}").read_bytes())
        assert process.stdout
        everything.append(process.stdout.read())
        status = process.wait(60)
    everything += [file.read_bytes() for file in files if file.exists()]
    return status, b"\n".join(everything).decode(errors="replace")


def told_nowhere(secret: str, declarations: str, folder: Path) -> str:
    """Run everything that speaks of declarations, a line each; see that a secret is nowhere, and return what is."""
    files = [folder / "report", folder / "message"]
    wait = ("wait", "-v", "--timeout=1s", f"--report={files[0]}", f"--termination-log={files[1]}")
    everything = ""
    for argv in (
        ("plan",),
        ("plan", "--output=json"),
        ("check", "-v"),
        ("check", "--output=json"),
        (*wait, "--log-format=console"),
        (*wait, "--log-format=json", "--", "cat", "/proc/self/cmdline"),
    ):
        status, said = said_by(argv, declarations, files)
        assert status in (0, 1, 2, 69, 124), said
        assert secret not in said, said
        everything += said
    return everything
