"""What a tended command says of itself: who may say it, what is made of it, and what goes on to the service manager."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest
from gate.program import notify_socket
from run.speaker import mentions, speaking
from run.tended import PYTHON, init, run, state, until


def test_ready_goes_on_first_and_alone(tmp_path: Path) -> None:
    """READY=1 is a datagram of its own, before what was said with it, and what is private stays here."""
    with speaking(tmp_path) as speaker:
        speaker.do("say('STATUS=up: READY=1\\nREADY=1\\nX_PRIVATE=1\\nMAINPID=%d' % os.getpid()); barrier()")
        assert speaker.hear("STATUS=up: READY: 1") == ["READY=1", "STATUS=up: READY: 1"]
        speaker.do("say('READY=1'); barrier()")
        assert speaker.close() == 0
        assert speaker.outside.messages() == []
        assert speaker.states() == ["ready", "ended"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("auto", ["READY=1", "STATUS=up", "RELOADING=1\nMONOTONIC_USEC=7", "READY=1", "ERRNO=5", "STOPPING=1"]),
        ("status", ["STATUS=up", "ERRNO=5"]),
    ],
)
def test_what_goes_on_follows_notify(how: str, said: list[str], tmp_path: Path) -> None:
    """With auto all that it says of itself goes on, with status nothing of readiness does."""
    with speaking(tmp_path, f"--notify={how}") as speaker:
        speaker.do("say('READY=1\\nSTATUS=up'); barrier()")
        heard = speaker.hear("STATUS=up")
        speaker.do(
            "say('RELOADING=1\\nMONOTONIC_USEC=7'); say('READY=1'); say('ERRNO=5'); say('STOPPING=1'); barrier()"
        )
        assert [*heard, *speaker.outside.messages()] == said
        speaker.close()
        assert speaker.states() == ["ready", "reloading", "ready", "stopping", "ended"]


def test_with_ready_we_say_it_when_the_command_has_started(tmp_path: Path) -> None:
    """With --notify=ready READY=1 comes when the command has been executed; it has nobody to say anything to."""
    with speaking(tmp_path, "--notify=ready") as speaker:
        assert speaker.address == ""
        speaker.close()
        assert speaker.states() == ["ready", "ended"]
    with notify_socket(_folder(tmp_path)) as outside:
        env = {"NOTIFY_SOCKET": outside.path}
        assert run(*init("--notify=ready"), "true", env=env).returncode == 0
        assert [each for each in outside.messages() if not each.startswith("STATUS=")] == ["READY=1"]
        assert run(*init("--notify=ready"), "no-such-command", env=env).returncode == 127
        assert "READY=1" not in outside.messages()


def _folder(path: Path) -> Path:
    (path / "other").mkdir()
    return path / "other"


def test_with_off_nobody_hears_us_and_the_command_speaks_for_itself(tmp_path: Path) -> None:
    """With --notify=off the variable is untouched: what is heard outside is the command's own."""
    with speaking(tmp_path, "--notify=off") as speaker:
        assert speaker.address == speaker.outside.path
        speaker.do("say('READY=1\\nMAINPID=1')")
        assert speaker.outside.messages() == ["READY=1\nMAINPID=1"]
        speaker.close()
        assert speaker.outside.messages() == []


def test_an_outer_socket_that_nobody_reads_holds_nothing(tmp_path: Path) -> None:
    """Where nobody reads outside, or nobody is there, the command goes on as if somebody were."""
    with speaking(tmp_path, NOTIFY_SOCKET=str(tmp_path / "nobody")) as speaker:
        speaker.do("say('READY=1'); barrier()")
        assert speaker.close() == 0
        assert speaker.states() == ["ready", "ended"]
    with speaking(_folder(tmp_path)) as speaker:
        speaker.do("for i in range(200): say(f'STATUS={i}\\nERRNO={i}')\nsay('READY=1'); barrier()")
        assert speaker.close() == 0
        assert speaker.states() == ["ready", "ended"]


SAYS = {"main": "say('READY=1')", "child": "child(lambda: (say('READY=1'), barrier()))"}


@pytest.mark.parametrize(
    ("access", "who", "heard"),
    [
        ("none", "main", False),
        ("none", "child", False),
        ("main", "main", True),
        ("main", "child", False),
        ("exec", "main", True),
        ("exec", "child", False),
        ("all", "main", True),
        ("all", "child", True),
        ("all", "stranger", False),
        ("main", "stranger", False),
    ],
)
def test_who_may_speak(access: str, who: str, heard: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a table
    """--notify-access has the rules of systemd; what is not heard is told once."""
    with speaking(tmp_path, f"--notify-access={access}") as speaker:
        if who == "stranger":
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                for _ in range(3):
                    sock.sendto(b"READY=1", "\0" + speaker.address[1:])
        else:
            speaker.do(SAYS[who])
        speaker.do("barrier()")
        speaker.close()
        assert ("READY=1" in speaker.outside.messages()) is heard
        log = speaker.log()
        assert ("ready" in [each.get("state") for each in log]) is heard
        assert heard or sum("was not heard" in str(each) for each in log) == 1


def test_who_may_speak_may_change(tmp_path: Path) -> None:
    """NOTIFYACCESS= changes at run time who may speak, in both directions, until nobody may."""
    with speaking(tmp_path, "--notify-access=main") as speaker:
        for access, heard in (("all", True), ("exec", False), ("all", True), ("x", True), ("main", False)):
            speaker.do(f"say('NOTIFYACCESS={access}'); child(lambda: (say('ERRNO=1'), barrier()))")
            assert (speaker.outside.messages() == ["ERRNO=1"]) is heard
        speaker.do("say('NOTIFYACCESS=none'); say('READY=1'); say('NOTIFYACCESS=all'); say('READY=1'); barrier()")
        assert speaker.outside.messages() == []


MESSAGES = {
    "b'ERRNO=1\\n' + b'X=' + bytes([65]) * 4086": True,
    "b'ERRNO=1\\n' + b'X=' + bytes([65]) * 4087": False,
    "b'ERRNO=1\\n' + b'X=' + bytes([65]) * 4085 + b'\\0'": True,
    "b'ERRNO=1\\n' + b'X=' + bytes([65]) * 4086 + b'\\0'": False,
    "b'ERRNO=1\\n' + b'X=' + bytes([65]) * 200000": False,
    "b'ERRNO=1\\0'": True,
    "b'ERRNO=1\\0\\0'": False,
    "b'ERRNO=1\\nX=\\0'": True,
    "b'X=\\0\\nERRNO=1'": False,
    "b'ERRNO=1\\r\\n'": True,
    "b'\\n\\nERRNO=1\\n\\n'": True,
    "b'ERRNO=1\\nERRNO=2'": True,
    "b'ERRNO=1\\nREADY=0\\nREADY=10\\n READY=1\\nXREADY=1\\nREADY'": True,
    "b'ERRNO'": False,
    "b' ERRNO=1'": False,
    "b''": False,
    "b'ERRNO=1\\nBARRIER=1'": False,
    "b'\\xff\\xfe=\\n=\\n==\\nERRNO=1'": True,
}


def test_a_message_is_read_as_systemd_reads_it(tmp_path: Path) -> None:
    """4096 bytes, no NUL but one at the end, whole lines: what breaks a rule is dropped whole, and nothing after it."""
    with speaking(tmp_path) as speaker:
        for message, heard in MESSAGES.items():
            speaker.do(f"say({message}); barrier()")
            assert speaker.outside.messages() == (["ERRNO=1"] if heard else []), message
        speaker.do("say('READY=1'); barrier()")
        assert speaker.outside.messages() == ["READY=1"]


def test_descriptors_that_come_along_are_closed(tmp_path: Path) -> None:
    """What is sent along is closed at once, whatever it came with, and none stays open."""
    with speaking(tmp_path) as speaker:
        before = len(os.listdir(f"/proc/{speaker.pid}/fd"))
        for message, count in (
            *(("ERRNO=1", 1), ("FDSTORE=1", 9), ("ERRNO=1", 253), ("BARRIER=1", 2), ("BARRIER=1\nX=1", 1)),
            *(("X=\0\0", 3), ("X" * 5000, 253)),
        ):
            speaker.do(f"closed({message!r}, {count}); barrier()")
            assert len(os.listdir(f"/proc/{speaker.pid}/fd")) == before
            assert ("ERRNO=1" in speaker.outside.messages()) is message.startswith("ERRNO")


def test_a_barrier_is_answered_after_what_came_before(tmp_path: Path) -> None:
    """When a barrier is over, all that was said before it has been dealt with, and has gone on."""
    with speaking(tmp_path) as speaker:
        for number in range(20):
            speaker.do(f"for i in range(9): say('ERRNO=%d' % ({number} * 10 + i))\nbarrier()")
            assert speaker.outside.messages() == [f"ERRNO={number * 10 + i}" for i in range(9)]


def test_a_reload_within_a_reload_is_told_too(tmp_path: Path) -> None:
    """Each RELOADING goes on with its own MONOTONIC_USEC: who asked for the second one waits for it."""
    with speaking(tmp_path) as speaker:
        speaker.do("say('RELOADING=1'); say('READY=1'); barrier()")
        assert speaker.outside.messages() == ["READY=1"]  # it had not started yet
        for number in (1, 2):
            speaker.do(f"say('MONOTONIC_USEC={number}\\nRELOADING=1'); barrier()")
            assert speaker.outside.messages() == [f"RELOADING=1\nMONOTONIC_USEC={number}"]
        speaker.do("say('RELOADING=1\\nREADY=1'); barrier()")
        assert speaker.outside.messages() == ["READY=1"]
        speaker.close()
        assert speaker.states() == ["ready", "reloading", "ready", "ended"]


def test_stopping_is_final(tmp_path: Path) -> None:
    """Nothing that says that it stops becomes ready again; it has --stop-timeout from there on."""
    with speaking(tmp_path, "--stop-timeout=300ms") as speaker:
        speaker.do("say('READY=1'); say('STOPPING=1\\nREADY=1\\nSTATUS=last orders'); say('READY=1'); barrier()")
        assert speaker.hear("STATUS=last orders") == ["READY=1", "STOPPING=1", "STATUS=last orders"]
        assert speaker.ended() == 137
        log = speaker.log()
        assert [each["state"] for each in log if "state" in each] == ["ready", "stopping", "failed"]
        assert "did not end within 300ms" in log[-1]["summary"]


def test_who_is_told_to_stop_has_it_said_outside(tmp_path: Path) -> None:
    """SIGTERM to us is STOPPING=1 outside, once, and a command that dies of it has ended, not failed."""
    with speaking(tmp_path) as speaker:
        speaker.do("say('READY=1'); barrier()")
        speaker.outside.messages()
        speaker.send(signal.SIGTERM)
        assert speaker.ended() == 143
        assert speaker.outside.messages() == ["STOPPING=1"]
        assert speaker.states() == ["ready", "stopping", "ended"]


def test_the_last_words_are_heard(tmp_path: Path) -> None:
    """What it says and then ends is not lost: STATUS and ERRNO of a start that failed."""
    with speaking(tmp_path) as speaker:
        speaker.tell("say('STATUS=no configuration\\nERRNO=2\\nEXIT_STATUS=6'); os._exit(6)")
        assert speaker.ended() == 6
        assert speaker.outside.messages() == ["ERRNO=2\nEXIT_STATUS=6", "STATUS=no configuration"]
        assert speaker.states() == ["failed"]


def test_status_is_the_newest_and_not_each_of_them(tmp_path: Path) -> None:
    """A status that changes all the time goes on a few times a second, the last one always."""
    with speaking(tmp_path) as speaker:
        began = time.monotonic()
        speaker.do("for i in range(2000): say(f'STATUS={i} done')\nbarrier()")
        heard = speaker.hear("STATUS=1999 done")
        assert len(heard) <= 2 + (time.monotonic() - began) * 10


@pytest.mark.parametrize("access", ["main", "all"])
def test_a_daemon_that_forks_twice_becomes_the_main_process(access: str, tmp_path: Path) -> None:
    """MAINPID makes another process the command: it may speak, it is sent signals, its end and status are the end."""
    forks = """
reader, writer = os.pipe()
if os.fork():
    say("MAINPID=" + os.read(reader, 20).decode())
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.write(writer, str(os.getpid()).encode())
signal.signal(signal.SIGTERM, lambda *_: (show("told"), os._exit(5)))
"""
    with speaking(tmp_path, f"--notify-access={access}") as speaker:
        speaker.do(forks)
        until(lambda: not state(speaker.command))
        speaker.do("say('READY=1'); barrier()")
        assert "READY=1" in speaker.outside.messages()
        speaker.send(signal.SIGTERM)
        assert speaker.line() == "told"
        assert speaker.ended() == 5
        assert speaker.states() == ["ready", "stopping", "ended"]


def test_a_main_process_that_is_none_of_ours_is_not_taken(tmp_path: Path) -> None:
    """MAINPID of a process that is gone, of us, of PID 1 or of a stranger changes nothing."""
    with speaking(tmp_path) as speaker:
        for pid in (os.getpid(), speaker.pid, 1, 0, 2**31, 2**40, -1, "x"):
            speaker.do(f"say('MAINPID={pid}'); barrier()")
        assert speaker.close() == 0


@pytest.mark.parametrize(("access", "count"), [("main", 100_000), ("all", 30_000)])
def test_a_flood_holds_nobody(access: str, count: int, tmp_path: Path) -> None:
    """100,000 messages of others lose no READY, and a signal in the midst of a flood that does not end is heard."""
    flood = "for _ in range(%s): say('X_FLOOD=1')"
    with speaking(tmp_path, f"--notify-access={access}") as speaker:
        speaker.do(f"floods = os.fork()\nif not floods:\n    {flood % count}\n    os._exit(0)")
        speaker.do("time.sleep(0.2); say('READY=1'); barrier()")
        assert "READY=1" in speaker.outside.messages()
        speaker.do("assert os.waitpid(floods, 0)[1] == 0")
        speaker.do(f"if not os.fork():\n    while True:\n        {flood % 1000}")
        speaker.do("time.sleep(0.2)")
        began = time.monotonic()
        speaker.send(signal.SIGTERM)
        assert speaker.ended() == 143
        assert time.monotonic() - began < 3
        log = speaker.log()
        assert sum("was not heard" in str(each) for each in log) <= 1
        assert [each["state"] for each in log if "state" in each] == ["ready", "stopping", "ended"]


def test_rubbish_changes_nothing(tmp_path: Path) -> None:
    """Random bytes, texts that are none and numbers that are none are passed over, and what is shown stays clean."""
    rubbish = """
import random
random.seed(7)
for _ in range(3000): say(bytes(random.choices(b"=\\n\\0\\xff1ARSTUW", k=random.randrange(40))))
for key in "WATCHDOG_USEC EXTEND_TIMEOUT_USEC MAINPID NOTIFYACCESS MONOTONIC_USEC WATCHDOG RELOADING".split():
    for value in ("", "-1", "x", "1e9", "9" * 30, "\\u0663", " 1", "1 "): say(f"{key}={value}")
say(b"STATUS=caf\\xe9 \\x1b[2J\\x07 end"); barrier()
"""
    with speaking(tmp_path, "--watchdog=60s") as speaker:
        speaker.do("say('READY=1'); barrier()")
        speaker.do(rubbish)
        assert mentions(speaker.hear("STATUS=caf? [2J end"), "STATUS=caf? [2J end")
        assert speaker.close() == 0
        assert speaker.states() == ["ready", "ended"]


def test_ten_commands_have_ten_sockets() -> None:
    """Each has a name of its own that the kernel chose, and nobody needs a folder for it."""
    show = (*PYTHON, "import os; print(os.environ['NOTIFY_SOCKET'])")
    names = {run(*init(), *show).stdout.strip() for _ in range(5)}
    assert all(name.startswith("@") for name in names)
