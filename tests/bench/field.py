"""The tools that are measured: where each comes from, what it is called with, and why one is left out.

gatekeeper is installed as any user has it: a wheel in a virtual environment of its own. The field's tools come from
where their users get them. All lies below .venv/bench; nothing of the system is changed. Each waits as it does by
default: no interval is set for any of them.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .servers import LOOPBACK

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".venv" / "bench"
PYTHON = CACHE / "venv" / "bin" / "python"
NPM = CACHE / "npm"
DEBIAN = CACHE / "debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Tool(NamedTuple):
    """One tool: how it waits for TCP ports, an HTTP endpoint, a plan file (where it can), and ends after a time.

    ``most`` is how many dependencies one call takes. ``hands_over`` says that it runs a COMMAND after ``--``.
    ``server`` is how it waits for a server by its kind and port, None where it knows no more than ports.
    """

    name: str
    version: str
    tcp: Callable[[Sequence[int]], list[str]]
    http: Callable[[int], list[str]] | None
    plan: Callable[[Path], list[str]] | None
    limit: Callable[[int], list[str]]
    most: int
    hands_over: bool
    server: Callable[[str, int], list[str]] | None = None

    def then(self, argv: Sequence[str], command: Sequence[str]) -> list[str]:
        """Run ``command`` after the wait: the tool's own way, or a shell's ``&&`` as its manual has it."""
        if self.hands_over:
            return [*argv, "--", *command]
        return ["/bin/sh", "-c", f"{shlex.join(argv)} && exec {shlex.join(command)}"]


# What wait4x asks of a server, it asks as a user.
_WAIT4X: Mapping[str, Callable[[int], list[str]]] = {
    "postgres": lambda port: ["postgresql", f"postgres://postgres@{LOOPBACK}:{port}/postgres?sslmode=disable"],
    "redis": lambda port: ["redis", f"redis://{LOOPBACK}:{port}"],
    "mysql": lambda port: ["mysql", f"root@tcp({LOOPBACK}:{port})/mysql"],
}


class MissingError(Exception):
    """A tool that cannot be had here, and why."""


def tools() -> tuple[list[Tool], list[str]]:
    """Fetch what is not there yet; return the tools, gatekeeper first, and a line for each that is left out."""
    found, left_out = [gatekeeper()], []
    for make in (wait_for_it, wait_on, wait_port, wait4x):
        try:
            found.append(make())
        except MissingError as missing:
            left_out.append(f"{make.__name__.replace('_', '-')}: left out: {missing}")
    return found, left_out


def gatekeeper() -> Tool:
    """Install the checkout, not editable, into an environment of its own, and call it by its path."""
    if not PYTHON.exists():
        _do([sys.executable, "-m", "venv", PYTHON.parents[1]])
    _do([PYTHON, "-m", "pip", "install", "--quiet", "--upgrade", ROOT])
    program = str(PYTHON.with_name("gatekeeper"))
    told = "import importlib.metadata as m; print(m.version('gatekeeper-agent'))"
    return Tool(
        name="gatekeeper",
        version=_do([PYTHON, "-I", "-c", told]),
        tcp=lambda ports: [program, "wait", *(f"tcp://{LOOPBACK}:{port}" for port in ports)],
        http=lambda port: [program, "wait", f"http://{LOOPBACK}:{port}/"],
        plan=lambda file: [program, "wait", "--file", str(file)],
        limit=lambda seconds: ["--timeout", f"{seconds}s"],
        most=1000,
        hands_over=True,
        server=lambda kind, port: [program, "wait", f"{kind}://{LOOPBACK}:{port}"],
    )


def wait_for_it() -> Tool:
    """Debian's bash script, installed or unpacked; it knows one TCP port, and no HTTP."""
    program = shutil.which("wait-for-it") or _of_debian("wait-for-it")
    return Tool(
        name="wait-for-it",
        version=_version_of_debian("wait-for-it"),
        tcp=lambda ports: [program, f"{LOOPBACK}:{ports[0]}", "--quiet", "--timeout=0"],
        http=None,
        plan=None,
        limit=lambda seconds: [f"--timeout={seconds}"],
        most=1,
        hands_over=True,
    )


def wait_on() -> Tool:
    """Node's wait-on: many resources, no COMMAND."""
    program, version = _of_npm("wait-on")
    return Tool(
        name="wait-on",
        version=version,
        tcp=lambda ports: [program, *(f"tcp:{LOOPBACK}:{port}" for port in ports)],
        http=lambda port: [program, f"http-get://{LOOPBACK}:{port}/"],
        plan=None,
        limit=lambda seconds: ["--timeout", f"{seconds}s"],
        most=1000,
        hands_over=False,
    )


def wait_port() -> Tool:
    """Node's wait-port: one port or endpoint, no COMMAND."""
    program, version = _of_npm("wait-port")
    return Tool(
        name="wait-port",
        version=version,
        tcp=lambda ports: [program, "--output", "silent", f"{LOOPBACK}:{ports[0]}"],
        http=lambda port: [program, "--output", "silent", f"http://{LOOPBACK}:{port}/"],
        plan=None,
        limit=lambda seconds: ["--timeout", f"{seconds * 1000}"],
        most=1,
        hands_over=False,
    )


def wait4x() -> Tool:
    """Debian sid's wait4x: a static Go binary, which needs nothing of sid but itself."""
    program = shutil.which("wait4x") or _of_debian("wait4x")
    return Tool(
        name="wait4x",
        version=_do([program, "version"]).split()[1].removeprefix("v"),
        tcp=lambda ports: [program, "tcp", *(f"{LOOPBACK}:{port}" for port in ports)],
        http=lambda port: [program, "http", f"http://{LOOPBACK}:{port}/", "--expect-status-code", "200"],
        plan=None,
        limit=lambda seconds: ["--timeout", f"{seconds}s"],
        most=1000,
        hands_over=True,
        server=lambda kind, port: [program, *_WAIT4X[kind](port)],
    )


def _of_npm(package: str) -> tuple[str, str]:
    program = NPM / "node_modules" / ".bin" / package
    if not program.exists():
        if not shutil.which("npm"):
            msg = "there is no npm on this machine"
            raise MissingError(msg)
        NPM.mkdir(parents=True, exist_ok=True)
        _do(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", NPM, package])
    about = json.loads((NPM / "node_modules" / package / "package.json").read_text())
    return str(program), about["version"]


def _of_debian(package: str) -> str:
    """Download and unpack a package of Debian sid with this machine's apt, its mirror, and lists of our own."""
    program = DEBIAN / "usr" / "bin" / package
    if not program.exists():
        DEBIAN.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            sources = Path(folder, "sid.list")
            signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
            sources.write_text(f"deb {signed}{_debian_mirror()} sid main\n")
            lists, cache = Path(folder, "lists"), Path(folder, "cache")
            for made_by_the_system in (lists / "partial", cache / "archives" / "partial"):
                made_by_the_system.mkdir(parents=True)
            settings = {
                "Dir::Etc::SourceList": sources,
                "Dir::Etc::SourceParts": "-",
                "Dir::State::Lists": lists,
                "Dir::Cache": cache,
                "APT::Sandbox::User": "root",  # apt's own user may not enter our folder
                "Acquire::Languages": "none",
            }
            options = [f"-o{name}={value}" for name, value in settings.items()]
            _do(["apt-get", "--quiet", *options, "update"])
            _do(["apt-get", "--quiet", *options, "download", package], folder)
            archive = next(Path(folder).glob("*.deb"))
            _do(["dpkg-deb", "--extract", archive, DEBIAN])
            (DEBIAN / f"{package}.version").write_text(_do(["dpkg-deb", "--field", archive, "Version"]))
    return str(program)


def _debian_mirror() -> str:
    """Return where this machine's apt gets its own Debian release from."""
    release: dict[str, str] = {}
    with suppress(OSError):
        lines = Path("/etc/os-release").read_text().splitlines()
        release = dict(line.replace('"', "").split("=", 1) for line in lines if "=" in line)
    if release.get("ID") == "debian":
        wanted = ["Created-By: Packages", "Component: main", f"Release: {release.get('VERSION_CODENAME')}"]
        for line in _do(["apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted]).splitlines():
            return line
    msg = "this machine's apt has no Debian mirror"
    raise MissingError(msg)


def _version_of_debian(package: str) -> str:
    with suppress(OSError):
        return (DEBIAN / f"{package}.version").read_text()
    with suppress(MissingError):
        return _do(["dpkg-query", "--show", "--showformat=${Version}", package])
    return "of unknown version"


def _do(argv: Sequence[str | Path], folder: str | None = None) -> str:
    """Run a step of the installation and return what it printed; raise MissingError with its last line."""
    # An installed package must have its bytecode, as a user's has, whatever this environment says.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        msg = f"there is no {argv[0]} on this machine"
        raise MissingError(msg) from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip() or error.stdout.strip() or f"exit status {error.returncode}").splitlines()
        msg = f"{Path(argv[0]).name} failed: {said[-1]}"
        raise MissingError(msg) from error
    return done.stdout.strip()
