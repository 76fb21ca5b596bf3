"""`gatekeeper install`: the agent as files, executed where there is no Python, no C library, not even a shell."""

import os
import subprocess
from pathlib import Path

import pytest

from .conftest import BUSYBOX, HARDENED, MUSL, PROGRAM
from .podman import Podman, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.needs("podman", "runc", "conmon", "catatonit", "dpkg", "gcc"),
    pytest.mark.timeout(300),
]


def test_the_first_image_has_no_library_at_all(podman: Podman, static: str, volume: str) -> None:
    """One static binary, no shell: the gate opens there, and the program becomes the first process."""
    hold = [
        "--env=STATUS=7",
        f"--entrypoint={PROGRAM}",
        static,
        "wait",
        "file:///app",
        "--",
        "/app",
        "one",
        "two words",
    ]
    done = podman("run", "--rm", *HARDENED, volume, *hold, check=False)
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines()[:3] == ["argument /app", "argument one", "argument two words"]
    assert '"gate.open"' in done.stderr


def test_the_command_sees_the_environment_of_its_container(podman: Podman, static: str, volume: str) -> None:
    """To the last variable, with those that are for its own loader; ours would not have survived them."""
    environment = [
        "LD_PRELOAD=/lib/none.so",
        "LD_LIBRARY_PATH=/opt/lib",
        "PYTHONHOME=/opt/python",
        "EMPTY=",
        "STATUS=0",
    ]
    given = [*HARDENED, "--hostname=app", *(f"--env={each}" for each in environment), volume]
    without = podman("run", "--rm", *given, static).stdout
    held = podman("run", "--rm", *given, f"--entrypoint={PROGRAM}", static, "wait", "file:///app", "--", "/app").stdout
    assert sorted(held.splitlines()) == sorted(without.splitlines())


@pytest.mark.parametrize("app", [BUSYBOX, MUSL])
def test_other_c_libraries_do_not_matter(podman: Podman, volume: str, app: str) -> None:
    """A busybox without any library, and one with musl."""
    hold = ["wait", "file:///bin", "--", "sh", "-c", "echo $0 $PPID; exit 3"]
    done = podman("run", "--rm", *HARDENED, volume, f"--entrypoint={PROGRAM}", app, *hold, check=False)
    assert (done.returncode, done.stdout) == (3, "sh 0\n"), done.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["wait", "-t", "200ms", "tcp://127.0.0.1:1", "--", "/app"], 124),
        (["wait", "file:///app", "--", "/absent"], 127),
        (["wait", "file:///app", "--", "/gatekeeper/share/left-out.txt"], 126),
        (["wait", "tpc://127.0.0.1:1", "--", "/app"], 2),
        (["kinds"], 0),
        (["demo"], 0),
    ],
)
def test_exit_statuses(podman: Podman, static: str, volume: str, arguments: list[str], status: int) -> None:
    """They are those of everywhere, and the demonstration finds the Python that it starts."""
    given = [*HARDENED, volume, "--tmpfs=/tmp", f"--entrypoint={PROGRAM}", static, *arguments]
    done = podman("run", "--rm", *given, check=False)
    assert done.returncode == status, done.stderr


def test_sigterm_reaches_what_runs(podman: Podman, static: str, volume: str) -> None:
    """It ends the wait with 143; a tended command gets it, and its end is the status."""
    for words, sign in (
        (["wait", "tcp://127.0.0.1:1", "--", "/app"], "refused"),
        (["run", "file:///app", "--", "/app"], "argument"),
    ):
        given = [*HARDENED, volume, f"--entrypoint={PROGRAM}", static, *words]
        container = podman("run", "--detach", *given).stdout.strip()
        until(lambda container=container, sign=sign: sign in podman.logs(container), "it runs")  # type: ignore[misc]
        podman("kill", "--signal=TERM", container)
        assert podman("wait", container).stdout.strip() == "143"
        podman("rm", container)


def test_names_are_resolved_and_https_is_verified(podman: Podman, static: str, volume: str) -> None:
    """Names are those of the container; certificates are verified by the authorities that came along."""
    hold = ["check", "tcp://db.example:1", "https://db.example:1/"]
    given = ["--add-host=db.example:127.0.0.1", volume, f"--entrypoint={PROGRAM}", static, *hold]
    hardened = [each for each in HARDENED if not each.startswith("--network")]
    done = podman("run", "--rm", *hardened, "--network=host", *given, check=False)
    assert done.returncode == 1
    assert done.stdout.count("127.0.0.1:1") >= 2, done.stdout
    code = "import ssl, certifi; print(len(ssl.create_default_context(cafile=certifi.where()).get_ca_certs()))"
    python = ["--entrypoint=/gatekeeper/bin/python3", static, "-I", "-c", code]
    assert int(podman("run", "--rm", *HARDENED, volume, *python).stdout) > 50


def in_this_host(podman: Podman, image: str, folder: Path) -> Path:
    """Install into a folder of the host; return the program, to be executed right here."""
    folder.mkdir()
    folder.chmod(0o777)
    podman("run", "--rm", *HARDENED, f"--volume={folder}:/g", image, "install", "/g")
    return folder / "bin" / "gatekeeper"


def test_the_tree_may_be_moved(podman: Podman, image: str, tmp_path: Path) -> None:
    """It works where it lies, by whatever link it is called, and can install itself from there."""
    in_this_host(podman, image, tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "second place")
    link = tmp_path / "gk"
    link.symlink_to(tmp_path / "second place" / "bin" / "gatekeeper")
    assert subprocess.run([link, "--version"], capture_output=True, text=True, check=True).stdout.startswith(
        "gatekeeper "
    )
    third = tmp_path / "third"
    subprocess.run([link, "install", third], check=True, capture_output=True)
    subprocess.run([third / "bin" / "gatekeeper", "wait", "file:///", "--", "true"], check=True, capture_output=True)


def test_it_is_installed_once(podman: Podman, image: str, tmp_path: Path) -> None:
    """An init container that is run again touches nothing; a tree that is not whole, or another, is replaced."""
    program = in_this_host(podman, image, tmp_path / "tree")
    mount = f"--volume={tmp_path / 'tree'}:/g"
    before = program.stat().st_ino
    (tmp_path / "tree" / ".gatekeeper-old").mkdir()
    (tmp_path / "tree" / ".gatekeeper-old").chmod(0o777)
    assert "already" in podman("run", "--rm", *HARDENED, mount, image, "install", "/g").stdout
    assert program.stat().st_ino == before
    assert not (tmp_path / "tree" / ".gatekeeper-old").exists()
    program.unlink()
    (tmp_path / "tree" / ".gatekeeper-new").mkdir()
    (tmp_path / "tree" / ".gatekeeper-new").chmod(0o777)
    podman("run", "--rm", *HARDENED, mount, image, "install", "/g")
    (tmp_path / "tree" / "share" / "tree.sha256").unlink()
    (tmp_path / "tree" / "share" / "tree.sha256").write_text("another\n")
    assert "is now" in podman("run", "--rm", *HARDENED, mount, image, "install", "/g").stdout
    assert sorted(path.name for path in (tmp_path / "tree").iterdir()) == ["bin", "lib", "libexec", "share"]
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "tree").rglob("*")}
    assert modes == {0o444, 0o555, 0o755}


@pytest.mark.parametrize("moment", ["", "libexec", "lib/python3", "bin/python3"])
def test_whoever_is_killed_half_way_leaves_nothing_that_looks_whole(
    podman: Podman, image: str, tmp_path: Path, moment: str
) -> None:
    """Killed at any moment, the program is not there, or runs; and the next one makes the tree whole."""
    program = in_this_host(podman, image, tmp_path / "source")
    tree = tmp_path / "tree"
    with subprocess.Popen([program, "install", tree], stdout=subprocess.DEVNULL) as process:
        unfinished = tree / ".gatekeeper-new" / moment
        until(lambda: os.path.lexists(unfinished) or process.poll() is not None, "it has come so far")
        process.kill()
    installed = tree / "bin" / "gatekeeper"
    assert not installed.exists() or subprocess.run([installed, "--version"], check=True, capture_output=True)
    subprocess.run([program, "install", tree], check=True, capture_output=True)
    assert sorted(path.name for path in tree.iterdir()) == ["bin", "lib", "libexec", "share"]
    subprocess.run([installed, "wait", "file:///", "--", "true"], check=True, capture_output=True)


def test_a_folder_may_be_a_link_or_hold_other_things(podman: Podman, image: str, tmp_path: Path) -> None:
    """A link is followed; files of others stay; a link that leads nowhere is no folder."""
    program = in_this_host(podman, image, tmp_path / "source")
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "lost+found").mkdir()
    (tmp_path / "link").symlink_to("volume")
    subprocess.run([program, "install", tmp_path / "link"], check=True, capture_output=True)
    there = sorted(path.name for path in (tmp_path / "volume").iterdir())
    assert there == ["bin", "lib", "libexec", "lost+found", "share"]
    (tmp_path / "nowhere").symlink_to("absent")
    done = subprocess.run([program, "install", tmp_path / "nowhere"], capture_output=True, text=True, check=False)
    assert (done.returncode, "is no folder" in done.stderr) == (2, True)


def test_another_version_that_cannot_be_replaced_is_told(podman: Podman, image: str, tmp_path: Path) -> None:
    """A tree of another version on a volume that is mounted read-only is refused, and the same one is not."""
    in_this_host(podman, image, tmp_path / "tree")
    mount = f"--volume={tmp_path / 'tree'}:/g:ro"
    (tmp_path / "tree" / ".gatekeeper-old").mkdir()  # by one who was ended too late to do harm
    assert "already" in podman("run", "--rm", *HARDENED, mount, image, "install", "/g").stdout
    total = tmp_path / "tree" / "share" / "tree.sha256"
    total.chmod(0o644)
    total.write_text("another\n")
    done = podman("run", "--rm", *HARDENED, mount, image, "install", "/g", check=False)
    assert (done.returncode, "is mounted read-only" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "arguments", "reason"),
    [
        ([], [], "takes one DIR"),
        ([], ["/usr/local"], "holds bin that is not gatekeeper's"),
        ([], ["/etc/passwd"], "is no folder"),
        ([], ["/absent/folder"], "cannot be made or opened"),
        (["--tmpfs=/g:noexec"], ["/g"], "mounted noexec"),
        (["--tmpfs=/g:mode=755,exec"], ["/g"], "may not write there"),
        (["--tmpfs=/g:mode=777,exec,ro"], ["/g"], "is mounted read-only"),
    ],
)
def test_what_will_not_do(podman: Podman, image: str, options: list[str], arguments: list[str], reason: str) -> None:
    """A folder that cannot be used is refused with the reason, and nothing is left in it."""
    done = podman("run", "--rm", *HARDENED, *options, image, "install", *arguments, check=False)
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr


def test_a_full_volume_is_a_fault(podman: Podman, image: str) -> None:
    """What does not fit leaves with 70 and the name of the folder."""
    done = podman("run", "--rm", *HARDENED, "--tmpfs=/g:mode=777,exec,size=4m", image, "install", "/g", check=False)
    assert (done.returncode, done.stderr) == (70, "gatekeeper: /g cannot be written: No space left on device\n")
