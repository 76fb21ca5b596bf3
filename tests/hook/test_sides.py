"""The way to the container's side: its network and its names, in namespaces that the test makes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hooking import DEPENDENCIES, hook
from namespace import NAMESERVER

pytestmark = [pytest.mark.root, pytest.mark.needs("unshare", "setpriv")]

# A server that only this network has, and a nameserver for which names with "ok" are its address.
_SERVER = (
    NAMESERVER
    + """
listener = socket.create_server(("127.0.0.9", 0))
print(listener.getsockname()[1], flush=True)
threading.Event().wait()
"""
)


class Made(NamedTuple):
    """A container that is being made: its first process, a port in its network, its bundle."""

    pid: int
    port: int
    bundle: Path

    def state(self, dependencies: str, status: str = "creating", **annotations: str) -> dict[str, Any]:
        """Return the state that runc gives a createRuntime hook."""
        given = {f"dev.gatekeeper/{name}": text for name, text in ({"timeout": "15s"} | annotations).items()}
        return {"ociVersion": "1.0.2-dev", "id": "x", "status": status, "pid": self.pid, "bundle": str(self.bundle)} | {
            "annotations": given | {DEPENDENCIES: dependencies}
        }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Return a container that is being made."""
    bundle = tmp_path_factory.mktemp("bundle")
    files = {"resolv.conf": "nameserver 127.0.0.1\n", "hosts": "127.0.0.9 in-hosts\n"}
    for name, text in files.items():
        (bundle / name).write_text(text)
    mounts = [{"destination": f"/etc/{name}", "source": name, "options": ["bind"]} for name in files]
    env = ["HOST=in-hosts", "PATH=/bin"]
    config = {"root": {"path": "rootfs"}, "mounts": mounts, "process": {"env": env}}
    (bundle / "config.json").write_text(json.dumps(config))
    program = ["sh", "-c", 'ip link set lo up && exec "$0" -c "$1"', sys.executable, _SERVER]
    with subprocess.Popen(["unshare", "--net", "--mount", *program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield Made(process.pid, int(process.stdout.readline()), bundle)
        process.kill()


@pytest.mark.parametrize("host", ["127.0.0.9", "in-hosts", "ok.example", "$(HOST)"])
def test_the_network_and_the_names_are_the_containers(made: Made, host: str) -> None:
    """An address, a name in its hosts, one that its nameserver knows, and one in its environment: all are its own."""
    before = Path("/etc/hosts").read_text(), Path("/etc/resolv.conf").read_text()
    done = hook(made.state(f"db=tcp://{host}:{made.port}"))
    assert done.returncode == 0, done.stderr
    assert before == (Path("/etc/hosts").read_text(), Path("/etc/resolv.conf").read_text())


def test_the_kinds_that_ask_dns_ask_its_nameserver(made: Made) -> None:
    """What reads resolv.conf itself reads the container's."""
    assert hook(made.state(f"dns://ok.example\nservice://ok:{made.port}", "created")).returncode == 0


def test_what_only_the_host_knows_is_not_there(made: Made) -> None:
    """A name or a variable of the host does not count for the container."""
    done = hook(made.state("db=tcp://${ONLY_HERE}:1"), env={"ONLY_HERE": "127.0.0.9"})
    assert done.returncode == 2
    assert "ONLY_HERE is not set" in done.stderr


def test_fields_of_the_pod_are_not_read_from_the_host(made: Made, tmp_path: Path) -> None:
    """Outside of the container neither a folder nor a variable of the host tells a field of the pod."""
    (tmp_path / "name").write_text("host")
    (tmp_path / "annotations").write_text('dev.gatekeeper/timeout="nonsense"')
    there = {"GATEKEEPER_POD_INFO": str(tmp_path), "POD_NAME": "host"}
    done = hook(made.state("db=tcp://${$.metadata.name}:1"), env=there)
    assert done.returncode == 2
    assert "${$.metadata.name}: for a hook only variables tell fields of the pod (POD_NAME" in done.stderr
    assert "nonsense" not in done.stderr
    done = hook(made.state(f"db=tcp://${{$.metadata.name:-127.0.0.9}}:{made.port}"), env=there)
    assert done.returncode == 0, done.stderr


def test_annotations_may_not_command_the_runtime(made: Made, tmp_path: Path) -> None:
    """A command in an annotation is refused on the runtime's side, unless whoever installed the hook allows it."""
    there = tmp_path / "there"
    state = made.state(f"exec:'touch {there}'", report=str(tmp_path / "report"))
    done = hook(state)
    assert done.returncode == 2
    assert "exec would look at the host" in done.stderr
    assert "dev.gatekeeper/report: would be a file of the host" in done.stderr
    assert not list(tmp_path.iterdir())
    assert hook(state, "--trust-annotations").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "there"]


def test_a_plan_that_annotations_name_counts(made: Made, tmp_path: Path) -> None:
    """Its dependencies are waited for over the container's network, with the container's variables."""
    plan = tmp_path / "plan.yaml"
    there = f"tcp://127.0.0.9:{made.port}"
    plan.write_text(f"dependencies:\n  in-plan: tcp://${{HOST}}:{made.port}\n")
    done = hook(made.state(there, file=str(plan)))
    assert done.returncode == 0, done.stderr
    assert "2 of 2 ready" in done.stderr
    plan.write_text("dependencies:\n  in-plan: tcp://127.0.0.9:1\n")
    done = hook(made.state(there, file=str(plan), timeout="300ms"))
    assert done.returncode == 124, done.stderr


def test_a_plan_that_annotations_name_may_ask_for_no_more_than_they(made: Made, tmp_path: Path) -> None:
    """Neither commands nor files of the host, and what else such a file holds is not told."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(f"report: {tmp_path}/report\ndependencies:\n  x: \"exec:'touch {tmp_path}/there'\"\n")
    done = hook(made.state("", file=str(plan)))
    assert done.returncode == 2
    assert "dev.gatekeeper/file: is no plan file that can be used, or asks for more" in done.stderr
    assert "exec" not in done.stderr
    plan.write_text("dependencies: hunter2\nother: [hunter2\n")
    done = hook(made.state(f"tcp://127.0.0.9:{made.port}", file=str(plan)))
    assert done.returncode == 2
    assert "dev.gatekeeper/file: is no plan file" in done.stderr
    assert "hunter2" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["plan.yaml"]


@pytest.mark.parametrize(
    "text",
    [
        "timeout: hunter2\ndependencies: {}\n",
        "interval: 9s\nmax_interval: 8s\nhunter2: 1\n",
        "dependencies: {hunter2: 'tcp://127.0.0.9:hunter2'}\n",
        "dependencies: {db: 'hunter2://127.0.0.9:1'}\n",
        "dependencies: {db: {target: 'tcp://127.0.0.9:1', after: hunter2}}\n",
        "dependencies: {hunter2s: 'tcp://127.0.0.9:1'}\n",
        "dependencies: {hunter2: 'file:///x'}\n",
        "file: hunter2\n",
        "hunter2",
    ],
)
def test_nothing_is_quoted_of_a_file_that_annotations_name(made: Made, tmp_path: Path, text: str) -> None:
    """Its values and names are not told, whatever is wrong with it; what is wrong with the annotations is."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(text)
    done = hook(made.state(f"x=tcp://127.0.0.9:{made.port} after=hunter\ny=tcp://a:99999", file=str(plan)))
    assert done.returncode == 2
    assert "hunter2" not in done.stderr
    assert "'99999' is no port" in done.stderr
    assert done.stderr.count("dev.gatekeeper/file: is no plan file that can be used") == 1


def test_a_file_that_is_named_in_vain_tells_no_more_than_a_bad_one(made: Made, tmp_path: Path) -> None:
    """Whether it is there is not told either, and good annotations are not complained of."""
    told = set()
    for name in ("bad.yaml", "none.yaml"):
        (tmp_path / "bad.yaml").write_text("timeout: hunter2\n")
        done = hook(made.state(f"x=tcp://127.0.0.9:{made.port}", file=str(tmp_path / name)))
        assert done.returncode == 2
        told.add(done.stderr)
    (same,) = told
    assert same.count("\n") == 2


@pytest.mark.parametrize("capability", ["sys_admin", "sys_ptrace"])
def test_where_the_way_is_barred_it_stays_shut(made: Made, capability: str) -> None:
    """Without the right to enter, nothing is probed from outside: the hook says which right it lacks."""
    lacking = ["setpriv", "--bounding-set", f"-{capability}", "--inh-caps", f"-{capability}"]
    if capability == "sys_ptrace":
        lacking += ["--reuid", "65534", "--clear-groups"]
    done = hook(made.state(f"tcp://127.0.0.9:{made.port}"), before=lacking)
    assert done.returncode in (2, 70)
    assert "CAP_SYS_ADMIN" in done.stderr or "may not look" in done.stderr


# A process namespace in which /proc is still that of the outer one; process 2 is ready, then the hook is called.
_WITHIN = 'eval "$1" & read -r _ <"$0" && shift && "$@"'


def within(fifo: Path, second: str) -> list[str]:
    """Return the words before the hook's that call it there; ``second`` is the program of process 2."""
    os.mkfifo(fifo)
    return ["unshare", "--pid", "--fork", "--mount", "sh", "-c", _WITHIN, str(fifo), second.format(fifo=fifo)]


def test_a_process_that_proc_shows_under_another_number_is_found(made: Made, tmp_path: Path) -> None:
    """In createContainer of runc /proc still is the runtime's: the container's process is ours, and we are inside."""
    enter = ["nsenter", f"--net=/proc/{made.pid}/ns/net"]
    before = within(tmp_path / "fifo", "exec sh -c 'echo >{fifo}; exec sleep 60'")
    state = made.state(f"db=tcp://in-hosts:{made.port}") | {"pid": 2}
    done = hook(state, before=[*enter, *before])
    assert done.returncode == 0, done.stderr
    done = hook(state | {"pid": 60}, before=[*enter, *within(tmp_path / "another", "exec sh -c 'echo >{fifo}'")])
    assert done.returncode == 2
    assert "names process 60, which is nowhere to be seen" in done.stderr


def test_a_runtime_with_the_proc_of_another_is_no_container(made: Made, tmp_path: Path) -> None:
    """What listens in the runtime's own network is not taken for the container's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        second = "exec unshare --net --mount sh -c 'ip link set lo up; echo >{fifo}; exec sleep 60'"
        state = made.state(f"tcp://127.0.0.1:{port}", timeout="1s") | {"pid": 2}
        assert hook(state, before=within(tmp_path / "fifo", second)).returncode == 124


def test_the_services_of_the_host_are_not_asked(made: Made, tmp_path: Path) -> None:
    """However the host resolves names (nsswitch.conf), the container's files and nameserver count."""
    (tmp_path / "nsswitch.conf").write_text("hosts: myhostname\n")
    mount = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/nsswitch.conf && exec "$@"']
    before = [*mount, str(tmp_path / "nsswitch.conf")]
    state = made.state(f"tcp://ok.example:{made.port}\ntcp://in-hosts:{made.port}")
    done = hook(state, before=before)
    assert done.returncode == 0, done.stderr


def test_a_bundle_that_is_not_there_keeps_it_shut(made: Made) -> None:
    """Without config.json nobody knows how the container resolves names."""
    done = hook(made.state("tcp://in-hosts:1") | {"bundle": "/nowhere"})
    assert done.returncode == 2
    assert "/nowhere/config.json: cannot be read" in done.stderr
