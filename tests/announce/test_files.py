"""What is written where, and what must never happen to what was there. Real files, pipes and devices."""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gatekeeper.announce.files import check_writable, remove, write_report, write_termination_message, write_whole
from gatekeeper.model import Reason, State
from gatekeeper.verdict import Cause, Change, Gate, Report, Verdict


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """Return a FIFO that nobody reads."""
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def python(program: str, *arguments: object, redirection: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run a program of Python, its streams redirected by a shell."""
    head = "import sys; from gatekeeper.announce.files import *\n"
    words = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", head + program, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, timeout=60, check=False)


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    """The file has the text in UTF-8, and nothing else is left in the folder."""
    write_whole(str(tmp_path / "ready"), "größe \udce9\n")
    assert (tmp_path / "ready").read_bytes() == "größe ?\n".encode()
    assert os.listdir(tmp_path) == ["ready"]


def test_a_reader_never_sees_a_half(tmp_path: Path) -> None:
    """Whoever opened the old file reads the old text to its end; whoever opens it after sees the new."""
    path = tmp_path / "report"
    write_whole(str(path), "old" * 10_000)
    with path.open() as reader:
        assert reader.read(3) == "old"
        write_whole(str(path), "new")
        assert reader.read() == "old" * 9_999
    assert path.read_text() == "new"


def test_the_mode_follows_the_umask(tmp_path: Path) -> None:
    """The file may be read by whom the umask allows."""
    before = os.umask(0o027)
    try:
        write_whole(str(tmp_path / "ready"), "x")
    finally:
        os.umask(before)
    assert (tmp_path / "ready").stat().st_mode & 0o777 == 0o640


def test_a_relative_path_is_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare file name is a file in the current folder."""
    monkeypatch.chdir(tmp_path)
    assert check_writable("ready") is None
    write_whole("ready", "x")
    assert os.listdir(tmp_path) == ["ready"]
    remove("ready")
    assert os.listdir(tmp_path) == []


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    """What a link leads to is written and removed, whether it is there or not; the link stays."""
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link", tmp_path / "folder/target"
    link.symlink_to("folder/target")
    for text in ("first", "second"):
        assert check_writable(str(link)) is None
        write_whole(str(link), text)
        assert target.read_text() == text
    assert os.listdir(target.parent) == ["target"]
    remove(str(link))
    assert link.is_symlink()
    assert not target.exists()


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """A file that cannot be written to its end raises with its path; the old one and nothing else remains."""
    path = tmp_path / "report"
    path.write_text("old")
    # No file of that process may grow beyond 100 bytes, which is what a full disk comes to.
    program = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    write_whole(sys.argv[1], "x" * 101)
except OSError as error:
    print(error.strerror, error.filename)
"""
    assert python(program, path).stdout.decode().strip() == f"File too large {path}"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report"]


def test_a_missing_folder_raises_with_the_path(tmp_path: Path) -> None:
    """The error names the path that the user wrote, not the temporary file's."""
    path = str(tmp_path / "none/ready")
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(path, "x")
    assert caught.value.filename == path
    assert check_writable(path) == f"{path}: there is no folder {tmp_path}/none"


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    """A folder at the path stays, and is an error for all of them."""
    path = str(tmp_path)
    with pytest.raises(IsADirectoryError):
        write_whole(path, "x")
    with pytest.raises(OSError, match="not a regular file"):
        remove(path)
    assert "folder" in str(check_writable(path))
    assert "folder" in str(check_writable(path + "/new/"))
    assert write_termination_message(path, "x") == f"{path}: Is a directory"


def test_a_device_is_written_to_and_never_replaced() -> None:
    """/dev/full takes nothing and stays a device; /dev/null takes all."""
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole("/dev/full", "x")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")
    write_whole("/dev/null", "x")
    assert check_writable("/dev/null") is None
    assert write_termination_message("/dev/full", "x") == "/dev/full: No space left on device"
    with pytest.raises(OSError, match="not a regular file"):
        remove("/dev/null")
    assert Path("/dev/full").is_char_device()
    assert Path("/dev/null").is_char_device()


def test_a_fifo_without_a_reader_is_not_waited_for(fifo: Path) -> None:
    """A FIFO that nobody reads is an error at once, and stays a FIFO."""
    with pytest.raises(OSError, match="No such device or address"):
        write_whole(str(fifo), "x")
    assert "No such device" in str(write_termination_message(str(fifo), "x"))
    remove(str(fifo))
    assert fifo.is_fifo()


def test_a_fifo_that_is_read_gets_all(fifo: Path) -> None:
    """A reader of a FIFO gets the whole text, also where it is longer than the pipe."""
    text = "0123456789" * 50_000
    received: list[bytes] = []
    with open(os.open(fifo, os.O_RDWR), "rb") as reader:  # as a writer too: without one, a first read finds the end
        collector = threading.Thread(target=lambda: received.append(reader.read(len(text))))
        collector.start()
        write_whole(str(fifo), text)
        collector.join(60)
    assert received == [text.encode()]


def test_a_fifo_that_is_full_is_given_up(fifo: Path) -> None:
    """A reader that does not read holds us for a second and no longer."""
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="nobody reads what is written") as caught:
        write_whole(str(fifo), "x" * 1_000_000)
    assert time.monotonic() - began < 30
    assert caught.value.filename == str(fifo)
    os.close(descriptor)


def test_a_socket_file_is_an_error(tmp_path: Path) -> None:
    """A socket is neither written nor replaced nor removed."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        with pytest.raises(OSError, match="No such device or address"):
            write_whole(path, "x")
        with pytest.raises(OSError, match="not a regular file"):
            remove(path)
    assert Path(path).is_socket()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_our_own_stdout_keeps_its_file_and_its_place(name: str, tmp_path: Path) -> None:
    """A path that leads to a descriptor is written through it: what it shares with the command is not replaced."""
    out = tmp_path / "out"
    program = (
        "say = lambda what: print(what, flush=True); say('before'); say(check_writable(sys.argv[1]))\n"
        "write_whole(sys.argv[1], 'whole\\n'); say(write_termination_message(sys.argv[1], 'message\\n'))\n"
        "if len(sys.argv) == 2: sys.exit()\n"
        "try: remove(sys.argv[1])\nexcept OSError as error: say(error.strerror)"
    )
    said = "before\nNone\nwhole\nmessage\nNone\n"
    assert python(program, name, "remove", redirection=f"> {out}").stderr == b""
    assert out.read_text() == said + "is not a regular file\n"
    assert python(program, name).stdout.decode() == said  # a pipe


def test_a_pipe_on_stdout_that_nobody_reads_is_given_up() -> None:
    """A blocking descriptor is not written to when it has no room."""
    program = (
        "import sys; from gatekeeper.announce.files import write_whole\n"
        "try: write_whole('/dev/stdout', 'x' * 1_000_000)\nexcept TimeoutError: sys.exit(3)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.wait(60) == 3


def test_a_closed_stdout_is_an_error() -> None:
    """A descriptor that is not open cannot be written, and no file appears in its stead."""
    program = "try: write_whole('/dev/stdout', 'x')\nexcept OSError as error: sys.exit(error.filename)"
    assert python(program, redirection=">&-").stderr == b"/dev/stdout\n"


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    """A link that leads to itself is told, not followed for ever."""
    path = tmp_path / "link"
    path.symlink_to(path)
    assert check_writable(str(path)) == f"{path}: Too many levels of symbolic links"
    assert write_termination_message(str(path), "x") == f"{path}: Too many levels of symbolic links"
    for act in (lambda: write_whole(str(path), "x"), lambda: remove(str(path))):
        with pytest.raises(OSError, match="Too many levels"):
            act()


def test_remove_takes_a_regular_file_and_does_without_one(tmp_path: Path) -> None:
    """A ready file of an earlier run is removed; where there is none, nothing happens."""
    path = tmp_path / "ready"
    remove(str(path))
    path.write_text("x")
    remove(str(path))
    assert not path.exists()
    with pytest.raises(NotADirectoryError):
        remove("/dev/null/ready")


def test_check_writable_touches_nothing(tmp_path: Path) -> None:
    """The early look finds nothing wrong with a path that can be written, and creates nothing."""
    path = tmp_path / "ready"
    assert check_writable(str(path)) is None
    assert os.listdir(tmp_path) == []
    path.write_text("old")
    assert check_writable(str(path)) is None
    assert path.read_text() == "old"
    assert check_writable(f"{path}/x") == f"{path}/x: Not a directory"
    assert check_writable("") is not None


@pytest.mark.root
def test_permissions_are_told_and_a_file_is_written_in_a_closed_folder(open_path: Path) -> None:
    """A folder that may not be written is told early; a file in it that may be written is written in place."""
    (open_path / "mine").write_text("long before")
    (open_path / "mine").chmod(0o666)
    program = (
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(check_writable(sys.argv[1] + '/mine')); write_whole(sys.argv[1] + '/mine', 'x')\n"
        "print(check_writable(sys.argv[1] + '/new'))\n"
        "try: write_whole(sys.argv[1] + '/new', 'x')\nexcept PermissionError as error: print(error.filename)"
    )
    done = python(program, open_path)
    new = f"{open_path}/new"
    assert done.stdout.decode() == f"None\n{new}: user 65534 may not write there\n{new}\n"
    assert (open_path / "mine").read_text() == "x"


@pytest.mark.root
def test_a_file_that_is_mounted_is_written_in_place(tmp_path: Path) -> None:
    """A file that is a mount point of its own cannot be replaced, and is written all the same."""
    source, mounted = tmp_path / "source", tmp_path / "mounted"
    source.write_text("long before")
    mounted.touch()
    program = "from gatekeeper.announce.files import write_whole; import sys; write_whole(sys.argv[1], 'x')"
    script = 'mount --bind "$1" "$2" && exec "$3" -c "$4" "$2"'
    words = ["unshare", "-m", "sh", "-c", script, "sh", source, mounted, sys.executable, program]
    assert subprocess.run(words, capture_output=True, check=False).stderr == b""
    assert source.read_text() == "x"
    assert sorted(os.listdir(tmp_path)) == ["mounted", "source"]


def test_a_termination_message_replaces_the_one_before_in_place(tmp_path: Path) -> None:
    """The very file is truncated and written, because the kubelet mounts it, and is made where it is not there."""
    path = tmp_path / "termination-log"
    assert write_termination_message(str(path), "a long first message\n") is None
    inode = path.stat().st_ino
    assert write_termination_message(str(path), "second\n") is None
    assert path.read_text() == "second\n"
    assert path.stat().st_ino == inode
    assert os.listdir(tmp_path) == ["termination-log"]


@pytest.mark.parametrize("padding", range(4))
def test_a_termination_message_has_at_most_a_kibibyte(padding: int, tmp_path: Path) -> None:
    """A long message keeps its beginning, cut between characters."""
    path = tmp_path / "termination-log"
    assert write_termination_message(str(path), "x" * 1024) is None
    assert path.read_text() == "x" * 1024
    assert write_termination_message(str(path), "x" * padding + "🙂" * 1000) is None
    assert path.read_text() == "x" * padding + "🙂" * ((1021 - padding) // 4) + "…"


def test_a_termination_message_that_cannot_be_written_is_a_text(tmp_path: Path) -> None:
    """What goes wrong with the message is returned, never raised."""
    path = str(tmp_path / "none/log")
    assert write_termination_message(path, "x") == f"{path}: No such file or directory"


def test_the_report_is_one_json_object(tmp_path: Path) -> None:
    """The report has the verdict as JSON in UTF-8, ending in a newline, whatever text is in it."""
    change = Change(0.004, State.WAITING, Reason.UNRESOLVED, "größe \udce9 \n")
    report = Report("db", "tcp", "tcp://db:1", True, "argument 1", *change[1:], 3, 1.23456, (change,))  # noqa: FBT003 - a field
    start = datetime(2026, 1, 1, tzinfo=UTC)
    verdict = Verdict(Gate.CLOSED, Cause.TIMEOUT, "1 of 1 not ready", start, 12.3456, (report,))
    path = tmp_path / "report.json"
    write_report(str(path), verdict)
    text = path.read_bytes().decode()
    wanted = json.loads(json.dumps(verdict.as_dict()).replace(r"\udce9", "?"))
    assert json.loads(text) == wanted
    assert text.endswith("}\n")
    assert "größe" in text


def test_nothing_is_imported_that_a_report_alone_needs() -> None:
    """A run without a report does not load json for it."""
    done = python("import gatekeeper.handover.become, gatekeeper.announce.sdnotify; sys.exit('json' in sys.modules)")
    assert done.returncode == 0
