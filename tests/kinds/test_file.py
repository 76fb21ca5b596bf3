"""file://: what counts as a file that is there, gone, or complete, and how the kernel tells of it."""

import asyncio
import os
import resource
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from badness import descriptors

from gatekeeper.model import Outcome, Reason, Signal, State, ready, waiting
from gatekeeper.probes._options import BadOptionsError
from gatekeeper.probes.file import MOST_READ, File

LIMIT = 20


def probe_of(path: object, *flags: str, **options: str) -> File:
    """Return the probe of a path."""
    given: dict[str, tuple[str, ...]] = dict.fromkeys(flags, ())
    return File.parse(f"file://{path}", given | {key: (text,) for key, text in options.items()})


def attempt(path: object, *flags: str, **options: str) -> Outcome:
    """Attempt once at a file."""

    async def run() -> Outcome:
        async with asyncio.timeout(LIMIT):
            return await probe_of(path, *flags, **options).attempt()

    return asyncio.run(run())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a path at which nothing is yet."""
    return tmp_path / "file"


def test_a_file_that_exists_is_ready(path: Path) -> None:
    """An empty file exists too."""
    path.touch()
    assert attempt(path)._replace(mark=None) == ready(str(path))


def test_a_file_that_is_not_there_is_not_found_and_gone(path: Path) -> None:
    """Neither the file nor its folder need exist yet; a file in the place of the folder is no folder."""
    assert attempt(path) == waiting(Reason.NOT_FOUND, str(path), cheap=True, gone=True)
    assert attempt(path / "below").reason is Reason.NOT_FOUND
    path.touch()
    assert attempt(path / "below").reason is Reason.NOT_FOUND


def test_a_link_to_nothing_is_not_found(path: Path) -> None:
    """A dangling symbolic link is no file, and the detail says what it is."""
    path.symlink_to("nowhere")
    assert attempt(path) == waiting(Reason.NOT_FOUND, f"{path} (a link to nothing)", cheap=True, gone=True)


def test_links_in_a_circle_are_neither_there_nor_gone(path: Path) -> None:
    """What cannot be followed proves nothing."""
    path.symlink_to(path)
    outcome = attempt(path)
    assert (outcome.state, outcome.gone) == (State.WAITING, False)
    assert attempt(path, "absent").state is State.WAITING


@pytest.mark.parametrize("options", [(), ("nonempty",), ("absent",)])
def test_a_file_behind_a_closed_folder_is_forbidden(
    open_path: Path, as_nobody: Callable[..., str], options: tuple[str, ...]
) -> None:
    """Where nobody may look nothing is known: not that the file is there, nor that it is gone."""
    (open_path / "closed").mkdir(mode=0)
    assert as_nobody(f"file://{open_path}/closed/file", *(f"{option}=yes" for option in options)) == "waiting forbidden"


def test_an_unreadable_file_exists_and_is_not_empty_but_cannot_be_searched(
    open_path: Path, as_nobody: Callable[..., str]
) -> None:
    """Reading is asked for only where the content counts."""
    path = open_path / "file"
    path.write_text("done")
    path.chmod(0)
    assert as_nobody(f"file://{path}") == "ready ready"
    assert as_nobody(f"file://{path}", "nonempty=yes") == "ready ready"
    assert as_nobody(f"file://{path}", "contains=done") == "waiting forbidden"


def test_absent_is_ready_only_when_the_file_is_gone(path: Path) -> None:
    """A file that should be gone is still there until it is not."""
    assert attempt(path, "absent") == ready(str(path))
    path.touch()
    assert attempt(path, "absent") == waiting(Reason.STILL_THERE, str(path), cheap=True)


def test_nonempty_wants_a_byte(path: Path) -> None:
    """An empty file waits for its content."""
    path.touch()
    assert attempt(path, "nonempty") == waiting(Reason.UNWANTED_ANSWER, f"{path} (empty)", cheap=True)
    path.write_text("x")
    assert attempt(path, "nonempty").state is State.READY


def test_nonempty_believes_the_content_where_the_size_is_unknown() -> None:
    """Files of procfs claim a size of 0 and hold something."""
    assert attempt("/proc/self/status", "nonempty").state is State.READY


def test_nonempty_of_a_folder_wants_an_entry(path: Path) -> None:
    """A folder is not empty when something lies in it."""
    path.mkdir()
    assert attempt(path, "nonempty").reason is Reason.UNWANTED_ANSWER
    (path / "entry").touch()
    assert attempt(path, "nonempty").state is State.READY
    assert attempt(path, contains="entry").detail == f"{path} (not a regular file)"


def test_contains_searches_and_never_quotes(path: Path) -> None:
    """The content decides, and is not shown."""
    path.write_text("user=app\npassword=hunter2\n")
    assert attempt(path, contains=r"user=\w+\npassword").state is State.READY
    outcome = attempt(path, contains="nothing")
    assert outcome == waiting(Reason.UNWANTED_ANSWER, f"{path} (no match in its first 26 bytes)", cheap=True)


def test_contains_reads_to_a_cap(path: Path) -> None:
    """What lies behind the first MiB is not read."""
    path.write_bytes(b"x" * MOST_READ + b"ready")
    assert attempt(path, contains="ready").detail == f"{path} (no match in its first {MOST_READ} bytes)"
    path.write_bytes(b"x" * (MOST_READ - 5) + b"ready")
    assert attempt(path, contains="ready").state is State.READY


def test_what_is_no_regular_file_exists_and_is_never_read(path: Path) -> None:
    """A FIFO without a writer and an endless device do not hold the attempt, and have no content."""
    os.mkfifo(path)
    for special in (path, "/dev/zero"):
        assert attempt(special).state is State.READY
        for outcome in (attempt(special, "nonempty"), attempt(special, contains="x")):
            assert outcome == waiting(Reason.UNWANTED_ANSWER, f"{special} (not a regular file)", cheap=True)


def test_the_mark_changes_with_the_file(path: Path) -> None:
    """Size, time and inode tell whether a file has stayed as it was: for stable_for."""
    path.write_text("a")
    first = attempt(path).mark
    assert attempt(path).mark == first
    path.write_text("ab")
    second = attempt(path).mark
    assert second != first
    os.utime(path, ns=(1, 1))
    third = attempt(path).mark
    assert third != second
    (path.parent / "other").write_text("ab")
    os.utime(path.parent / "other", ns=(1, 1))
    (path.parent / "other").rename(path)
    assert attempt(path).mark != third


def test_escapes_stand_for_bytes_and_the_rest_for_itself(tmp_path: Path) -> None:
    """A space may be written %20, a percent sign is %25; ? and # belong to the path (RFC 8089 knows no query)."""
    (tmp_path / "a b%?x#y").touch()
    assert attempt(f"{tmp_path}/a%20b%25?x#y").state is State.READY
    (tmp_path / os.fsdecode(b"\xff")).touch()
    assert attempt(f"{tmp_path}/%FF").state is State.READY


def test_the_short_form_of_a_file_url_is_taken(path: Path) -> None:
    """RFC 8089 allows file:/path for file:///path."""
    path.touch()
    assert File.parse(f"file:{path}", {}).path == str(path)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("file://relative/path", {}, "needs an absolute path: write file:///path/to/file"),
        ("file:///a%", {}, "write %25 for a percent sign"),
        ("file:///a%00b", {}, "control character"),
        ("file:///" + "x" * 256, {}, "longer than a path can be"),
        ("file:///" + "x/" * 2100, {}, "longer than a path can be"),
        ("file:///x", {"absent": (), "nonempty": ()}, "absent: contradicts nonempty and contains"),
        ("file:///x", {"contains": ("(",)}, "is no regular expression"),
    ],
)
def test_what_no_file_can_be_is_a_bad_declaration(
    target: str, options: dict[str, tuple[str, ...]], message: str
) -> None:
    """Every such declaration is refused before anything is looked at."""
    with pytest.raises(BadOptionsError, match=message):
        File.parse(target, options)


def watched(probe: File, *steps: Callable[[], object]) -> list[Outcome]:
    """Attempt, and again at each change; take a step whenever the outcome is known. Return the outcomes that differ."""

    async def run() -> list[Outcome]:
        signal = await probe.watch()
        assert signal
        outcomes = [await probe.attempt()]
        with closing(signal):
            for step in steps:
                step()
                async with asyncio.timeout(LIMIT):
                    while (outcome := await probe.attempt()) == outcomes[-1]:
                        await signal.changed()
                # The attempt above may have seen the step before its notice came: that is kept for later.
                async with asyncio.timeout(LIMIT):
                    await signal.changed()
                outcomes.append(outcome)
        return outcomes

    return asyncio.run(run())


def states(outcomes: list[Outcome]) -> list[str]:
    """Return what people read of outcomes."""
    return [outcome.state.value if outcome.state is State.READY else outcome.reason.value for outcome in outcomes]


def test_the_kernel_tells_of_a_file_that_comes_and_goes(path: Path) -> None:
    """Creation, removal and renaming wake the wait."""
    seen = watched(probe_of(path), path.touch, path.unlink, path.touch, lambda: path.rename(f"{path}.old"))
    assert states(seen) == ["not_found", "ready", "not_found", "ready", "not_found"]


def test_the_kernel_tells_of_folders_that_appear_on_the_way(tmp_path: Path) -> None:
    """However deep the file lies below what exists, each folder is watched as it appears."""
    path = tmp_path / "a" / "b" / "c" / "file"

    async def run() -> None:
        probe = probe_of(path)
        signal = await probe.watch()
        assert signal
        with closing(signal):
            for step in (*reversed(path.parents[:3]), path):
                step.touch() if step is path else step.mkdir()
                await asyncio.wait_for(signal.changed(), LIMIT)
            assert (await probe.attempt()).state is State.READY

    asyncio.run(run())


def test_folders_that_are_replaced_are_followed(tmp_path: Path) -> None:
    """A folder moved away on the way to the file is noticed, and so is the file in its successor."""
    path = tmp_path / "a" / "b" / "file"
    path.parent.mkdir(parents=True)
    path.touch()

    def replace() -> None:
        (tmp_path / "a").rename(tmp_path / "old")

    def anew() -> None:
        path.parent.mkdir(parents=True)
        path.touch()

    assert states(watched(probe_of(path), replace, anew)) == ["ready", "not_found", "ready"]


def test_a_volume_that_kubernetes_updates_is_followed(tmp_path: Path) -> None:
    """The link ..data is swapped for another by rename; the file that it leads to is another then."""
    for version, text in (("..1", "old"), ("..2", "new")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "key").write_text(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "key").symlink_to("..data/key")

    def swap() -> None:
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    assert states(watched(probe_of(tmp_path / "key", contains="new"), swap)) == ["unwanted_answer", "ready"]


def test_the_kernel_tells_of_content(path: Path) -> None:
    """Writing into the file wakes whoever waits for its content or its rest."""
    path.touch()
    writing = [lambda: path.write_text("a"), lambda: path.write_text("ab")]
    seen = watched(probe_of(path, "nonempty"), *writing)
    assert states(seen) == ["unwanted_answer", "ready", "ready"]
    assert seen[1].mark != seen[2].mark


def test_the_kernel_tells_of_an_entry_in_a_folder(path: Path) -> None:
    """A folder that must not be empty is watched inside."""
    path.mkdir()
    assert states(watched(probe_of(path, "nonempty"), (path / "x").touch)) == ["unwanted_answer", "ready"]


def test_other_names_in_the_folder_wake_nobody(path: Path) -> None:
    """Only what lies on the way to the file counts."""
    appear = path.touch

    async def run() -> None:
        with closing(await signal_of(path)) as signal, closing(await signal_of(path.parent / "other")) as other:
            (path.parent / "other").touch()
            await asyncio.wait_for(other.changed(), LIMIT)
            woken = asyncio.ensure_future(signal.changed())
            await asyncio.sleep(0.05)
            assert not woken.done()
            appear()
            await asyncio.wait_for(woken, LIMIT)

    asyncio.run(run())


def test_a_change_before_the_wait_is_not_lost(path: Path) -> None:
    """What happens after the signal was made is told at once, and a cancelled wait keeps it for the next."""
    appear = path.touch

    async def run() -> None:
        with closing(await signal_of(path)) as signal:
            cancelled = asyncio.ensure_future(signal.changed())
            await asyncio.sleep(0)
            appear()
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            await asyncio.wait_for(signal.changed(), LIMIT)

    asyncio.run(run())


def test_all_signals_of_a_loop_share_one_descriptor(tmp_path: Path) -> None:
    """The kernel has few inotify instances for all programs of a user; the last signal gives ours back."""

    async def run() -> None:
        before = descriptors()
        signals = [await signal_of(tmp_path / str(number)) for number in range(200)]
        assert len(descriptors() - before) == 1
        for number, signal in enumerate(signals):
            (tmp_path / str(number)).touch()
            await asyncio.wait_for(signal.changed(), LIMIT)
            signal.close()
        assert descriptors() == before

    asyncio.run(run())


def test_without_inotify_there_is_no_signal(path: Path) -> None:
    """Where the kernel has none left the pace asks again by itself, and nothing fails."""

    async def run() -> Signal | None:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            return await probe_of(path).watch()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert asyncio.run(run()) is None


def test_a_socket_exists_like_any_file(path: Path) -> None:
    """Existence asks for no type."""
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))
        assert attempt(path).state is State.READY


async def signal_of(path: Path) -> Signal:
    """Return the signal for a path."""
    signal = await probe_of(path).watch()
    assert signal
    return signal
