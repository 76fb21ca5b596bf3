"""The kubelet's variables: made of a service, read back, merged into an environment, written to a file."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gatekeeper.announce.environ import env_file
from gatekeeper.probes._variables import Port, Read, is_doubtful, merged, names_of, read_name, stem_of, variables_of


def test_a_service_has_all_variables_of_the_kubelet() -> None:
    """Host, first port, named ports and the forms of Docker's links, in the kubelet's words."""
    ports = [Port(80, "http"), Port(53, "dns-udp", "UDP")]
    assert variables_of("web-front", "10.0.0.1", ports) == {
        "WEB_FRONT_SERVICE_HOST": "10.0.0.1",
        "WEB_FRONT_SERVICE_PORT": "80",
        "WEB_FRONT_SERVICE_PORT_HTTP": "80",
        "WEB_FRONT_SERVICE_PORT_DNS_UDP": "53",
        "WEB_FRONT_PORT": "tcp://10.0.0.1:80",
        "WEB_FRONT_PORT_80_TCP": "tcp://10.0.0.1:80",
        "WEB_FRONT_PORT_80_TCP_PROTO": "tcp",
        "WEB_FRONT_PORT_80_TCP_PORT": "80",
        "WEB_FRONT_PORT_80_TCP_ADDR": "10.0.0.1",
        "WEB_FRONT_PORT_53_UDP": "udp://10.0.0.1:53",
        "WEB_FRONT_PORT_53_UDP_PROTO": "udp",
        "WEB_FRONT_PORT_53_UDP_PORT": "53",
        "WEB_FRONT_PORT_53_UDP_ADDR": "10.0.0.1",
    }


def test_ipv6_has_brackets_in_urls_only() -> None:
    """As net.JoinHostPort has it."""
    made = variables_of("db", "fd00::1", [Port(5432)])
    assert (made["DB_SERVICE_HOST"], made["DB_PORT"]) == ("fd00::1", "tcp://[fd00::1]:5432")


def test_no_port_no_variables() -> None:
    """A service without a port has no cluster IP."""
    assert variables_of("db", "10.0.0.1", []) == {}


@pytest.mark.parametrize(("name", "stem"), [("a-b", "A_B"), ("a.b", "A_B"), ("3scale", "_3SCALE"), ("db", "DB")])
def test_a_name_becomes_a_stem(name: str, stem: str) -> None:
    """Dashes and dots become underscores, and a digit has one before it."""
    assert stem_of(name) == stem


@pytest.mark.parametrize(
    ("stem", "names"),
    [("DB", ("db",)), ("_3SCALE", ("3scale",)), ("A_B", ("a-b", "a.b")), ("A_B_C", ("a-b-c", "a.b.c"))],
)
def test_a_stem_may_be_two_names(stem: str, names: tuple[str, ...]) -> None:
    """An underscore was a dash or a dot."""
    assert names_of(stem) == names


@pytest.mark.parametrize(
    ("variable", "read"),
    [
        ("REDIS_SERVICE_HOST", Read("REDIS")),
        ("REDIS_SERVICE_PORT", Read("REDIS")),
        ("REDIS_SERVICE_PORT_HTTP_API", Read("REDIS", "http-api")),
        ("REDIS_PORT", Read("REDIS", is_link=True)),
        ("REDIS_PORT_6379_TCP", Read("REDIS", is_link=True)),
        ("REDIS_PORT_6379_TCP_ADDR", Read("REDIS", is_link=True)),
        ("REDIS_HOST", None),
        ("_SERVICE_HOST", None),
        ("PORT", None),
        ("REDIS_PORT_X", None),
    ],
)
def test_a_variables_name_is_read(variable: str, read: Read | None) -> None:
    """Each form tells the service, and a named port its name."""
    assert read_name(variable) == read


@pytest.mark.parametrize(
    ("variable", "doubtful"),
    [
        ("A_SERVICE_PORT", True),
        ("A_SERVICE_PORT_80_TCP", True),
        ("A_SERVICE_HOST", False),
        ("A_SERVICE_PORT_HTTP", False),
        ("A_PORT", False),
    ],
)
def test_some_names_may_be_of_two_services(variable: str, doubtful: bool) -> None:  # noqa: FBT001 - a row of a table
    """`A_SERVICE_PORT` is a port of a, or the link of a-service."""
    assert is_doubtful(variable) is doubtful


def test_what_says_something_stays_and_what_was_left_is_replaced() -> None:
    """The kubelet's own values win; empty ones and literal references do not."""
    environ = {
        "DB_SERVICE_HOST": "10.0.0.9",
        "DB_SERVICE_PORT": "",
        "DB_PORT": "$(DB_PORT)",
        "URL": "pg://$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)/$(OTHER)",
        "PLAIN": "a",
    }
    made = variables_of("db", "10.0.0.1", [Port(5432)])
    after = merged(environ, made)
    assert after["DB_SERVICE_HOST"] == "10.0.0.9"
    assert (after["DB_SERVICE_PORT"], after["DB_PORT"]) == ("5432", "tcp://10.0.0.1:5432")
    assert after["URL"] == "pg://10.0.0.9:5432/$(OTHER)"
    assert (after["PLAIN"], after["DB_PORT_5432_TCP_ADDR"]) == ("a", "10.0.0.1")


HARMLESS = r"""a # $HOME ${B} `c` $(d) \\ "e" *  ~ ! ; & | < > = é"""


@pytest.mark.parametrize("shell", [["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]])
def test_a_shell_reads_the_file_with_its_dot(tmp_path: Path, shell: list[str]) -> None:
    """Whatever a value is like: nothing is replaced in it, and nothing run."""
    if not shutil.which(shell[0]):
        pytest.skip(f"{shell[0]} is not installed")
    made = {**variables_of("3-db", "fd00::1", [Port(5432, "pg")]), "HARMLESS": HARMLESS}
    file = tmp_path / "services.env"
    file.write_text(env_file(made))
    done = subprocess.run(
        [*shell, "-c", f"set -aeu; . {file}; env"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    assert done.stderr == ""
    assert made.items() <= dict(line.partition("=")[::2] for line in done.stdout.splitlines()).items()


def test_the_kubelet_reads_the_file() -> None:
    """Its rules are few: NAME='VALUE', a line each, nothing else, and 64 KiB in all (KEP-3721, beta)."""
    made = variables_of("3-db", "fd00::1", [Port(5432, "pg"), Port(53, "dns", "UDP")])
    text = env_file(made)
    assert dict(re.findall("^([A-Za-z_][A-Za-z0-9_]*)='([^']*)'$", text, re.MULTILINE)) == made
    assert len(text.splitlines()) == len(made)
    assert text.startswith("_3_DB_SERVICE_HOST='fd00::1'\n")
    assert text.endswith("'\n")


@pytest.mark.parametrize("variables", [{"A": "it's"}, {"A": "a\nb"}, {"A-B": "c"}, {"": "c"}])
def test_what_cannot_be_told_is_not_written(variables: dict[str, str]) -> None:
    """Between single quotes nothing can be escaped."""
    with pytest.raises(ValueError, match="cannot be told"):
        env_file(variables)
