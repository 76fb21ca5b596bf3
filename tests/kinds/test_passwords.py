"""Passwords, and what else is secret in a declaration, stand in nothing that gatekeeper says or writes."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import mariadb
import postgresql
import pytest
from discretion import said_by

SECRETS = (postgresql.PASSWORD, "wr0ng-pass", "s3cret-query", "s3cret-option")
WHERE = "127.0.0.1"


# By the status of a wait for them all: targets and options. In {password} stands the right one.
DECLARED = {
    0: (
        ("{kind}://app:{password}@{at}/app?application_name=s3cret-option", ""),
        ("{kind}://app:{password}@{at}/app?application_name=s3cret-option", "login=no"),
        ("{kind}://app:{password}@{at}/app", "query='SELECT 1 -- s3cret-query' expect=1"),
        ("{kind}://app@{at}/app", "password_file={file}"),
    ),
    69: (("{kind}://app:wr0ng-pass@{at}/app", ""),),
    124: (
        ("{kind}://app:{password}@{at}/app", "table=later"),
        ("{kind}://app:{password}@{at}/app", "query='SELECT NULL -- s3cret-query'"),
        ("{kind}://app:{password}@{at}/app", "query='SELEC s3cret-query' optional"),
        ("{kind}://app:{password}@{at}/later", ""),
        ("{kind}://app:{password}@{at}/app?sslmode=verify-full", ""),
        ("{kind}://app:{password}@127.0.0.1:1/app", ""),
        ("{kind}://app:{password}@no-such-name.invalid/app", ""),
    ),
    2: (
        ("{kind}://app:{password}@{at}/app?sslmod=s3cret-option", ""),
        ("{kind}://app:{password}@{at}/app?sslmode=s3cret-option", ""),
        ("{kind}://app:{password}/@{at}/app", ""),
        ("{kind}://app:{password}@{at}/app", "password_file={file}"),
        ("{kind}://app:{password}@{at}:x/app", ""),
    ),
}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """Give where a server of each kind is."""
    with ExitStack() as stack:
        pg = stack.enter_context(stack.enter_context(postgresql.made()).running())
        my = stack.enter_context(stack.enter_context(mariadb.made()).running())
        yield {"postgres": f"{WHERE}:{pg.port}", "mysql": f"{WHERE}:{my.port}"}


@pytest.mark.needs("pg_ctlcluster", "psql", "mariadbd", "mariadb")
@pytest.mark.parametrize("ends", DECLARED)
def test_nothing_that_is_secret_is_said(servers: dict[str, str], ends: int, tmp_path: Path) -> None:
    """Whatever the command, its form and its end: no output, no report, no file, no name of a process."""
    (tmp_path / "password").write_text(postgresql.PASSWORD)
    variables, lines = {}, []
    for number, (target, options) in enumerate(DECLARED[ends]):
        for kind, at in servers.items():
            told = {"kind": kind, "at": at, "password": postgresql.PASSWORD, "file": tmp_path / "password"}
            variables[f"DATABASE_URL_{number}_{kind}"] = target.format(**told)
            lines.append(f"{kind}{number}='${{DATABASE_URL_{number}_{kind}}}' {options.format(**told)}")
    report, message = tmp_path / "report", tmp_path / "message"
    wait = ["wait", "-v", f"--timeout={2 if ends == 124 else 60}", f"--report={report}", f"--termination-log={message}"]
    bad, not_ready = 2 if ends == 2 else 0, 1 if ends in (69, 124) else ends
    for argv, wanted in (
        (["plan"], bad),
        (["plan", "--output=json"], bad),
        (["check", "-v"], not_ready),
        (["check", "--output=json"], not_ready),
        ([*wait, "--log-format=console"], ends),
        ([*wait, "--log-format=json", "--", "cat", "/proc/self/cmdline"], ends),
    ):
        status, said = said_by(argv, "\n".join(lines), [report, message], **variables)
        assert status == wanted, said
        assert all(f"{kind}{number}" in said for kind in servers for number in range(len(DECLARED[ends]))) or ends == 2
        assert not [secret for secret in SECRETS if secret in said], said
