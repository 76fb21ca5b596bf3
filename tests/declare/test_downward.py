"""The fields of the pod, the files of its volume, and the declarations in its annotations."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.declaration import Given, Problem
from gatekeeper.declare.downward import FIELDS, NoFieldError, Pod
from gatekeeper.declare.podinfo import read_files, read_map
from gatekeeper.declare.substitute import Surroundings, substitute

OBJECT = {
    "metadata": {"name": "n", "namespace": "ns", "uid": "u", "labels": {"k": "l"}, "annotations": {"k": "a"}},
    "spec": {"nodeName": "node", "serviceAccountName": "sa"},
    "status": {
        "hostIP": "1",
        "hostIPs": [{"ip": "1"}, {"ip": "2"}],
        "podIP": "3",
        "podIPs": [{"ip": "3"}, {"ip": "::4"}],
    },
}

ADD = "no source tells it; add to the container env: "
MOUNT = "no source tells it; mount a downward API volume at FOLDER with items: "


def pod_in(folder: Path, variables: Mapping[str, str] | None = None) -> Pod:
    """Return the pod that a folder and variables tell of."""
    return Pod(variables or {}, Given("pod_info", (str(folder),), "--pod-info"))


def gatekeeper(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run gatekeeper with these variables alone."""
    environ = {"PATH": os.environ["PATH"]} | variables
    return subprocess.run(
        [sys.executable, "-m", "gatekeeper", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def plan(*arguments: str, **variables: str) -> Any:
    """Return what ``gatekeeper plan`` says as JSON."""
    done = gatekeeper("plan", "--output=json", *arguments, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("path", "variable"), [(path, name) for path in FIELDS for name in FIELDS[path].variables])
def test_a_variable_that_names_a_field_tells_it(path: str, variable: str, tmp_path: Path) -> None:
    """It comes before a file, and no name stands for two fields."""
    for name in FIELDS[path].files:
        (tmp_path / name).write_text("file")
    assert pod_in(tmp_path, {variable: "variable"}).field(path) == "variable"
    assert [other for other in FIELDS if variable in FIELDS[other].variables] == [path]


@pytest.mark.parametrize(("path", "name"), [(path, name) for path in FIELDS for name in FIELDS[path].files])
def test_a_file_that_is_named_after_a_field_tells_it(path: str, name: str, tmp_path: Path) -> None:
    """So it does where its variable is empty."""
    (tmp_path / name).write_text("file")
    assert pod_in(tmp_path, dict.fromkeys(FIELDS[path].variables, "")).field(path) == "file"


@pytest.mark.parametrize("written", ["labels['a.b/c']", 'labels["a.b/c"]', "labels[a.b/c]"])
def test_a_label_is_named_with_quotes_or_without(written: str, tmp_path: Path) -> None:
    """Words are split as a shell does before a reference is read, which takes the quotes away."""
    (tmp_path / "labels").write_text('a="x"\na.b/c="sh\\"op"')
    assert pod_in(tmp_path).field(f"metadata.{written}") == 'sh"op'


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "n"),
        ("metadata.uid", "u"),
        ("metadata.labels['k']", "l"),
        ("metadata.annotations['k']", "a"),
        ("spec.nodeName", "node"),
        ("spec.serviceAccountName", "sa"),
        ("status.hostIP", "1"),
        ("status.hostIPs", "1,2"),
        ("status.podIP", "3"),
        ("status.podIPs", "3,::4"),
    ],
)
def test_the_pod_as_an_object_comes_last(path: str, value: str, tmp_path: Path) -> None:
    """Each path is found in what the API server says of the pod (Pod v1), addresses with commas between them."""
    named = Given("pod_info", (str(tmp_path),), "--pod-info")
    assert Pod({}, named, lambda: OBJECT).field(path) == value
    with pytest.raises(NoFieldError):
        Pod({}, named, lambda: "").field(path)


def test_the_service_account_tells_the_namespace_alone(tmp_path: Path) -> None:
    """A file of the volume comes before it, the API server behind it."""
    account = tmp_path / "account"
    account.mkdir()
    (account / "namespace").write_text("of-account")
    (account / "name").write_text("of-account")
    pod = Pod({}, Given("pod_info", (str(tmp_path),), "--pod-info"), lambda: OBJECT, str(account))
    assert pod.field("metadata.namespace") == "of-account"
    assert pod.field("metadata.name") == "n"
    (tmp_path / "namespace").write_text("of-volume\n")
    assert pod_in(tmp_path).field("metadata.namespace") == "of-volume"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("$.metadata.name", ADD + "[{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]"),
        ("limits.cpu", ADD + "[{name: CPU_LIMIT, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]"),
        ("$.metadata.labels['k']", MOUNT + "[{path: labels, fieldRef: {fieldPath: metadata.labels}}]"),
        ("$.metadata.annotations['k']", "the pod has no annotation 'k'; add it, or write a :-fallback"),
    ],
)
def test_what_no_source_tells_says_how_a_manifest_tells_it(written: str, message: str, tmp_path: Path) -> None:
    """The lines can be copied, and a fallback stands in."""
    (tmp_path / "annotations").write_text('other="x"')
    around = Surroundings({}, lambda: Given("pod_info", (str(tmp_path),), "--pod-info"))
    problems: list[Problem] = []
    substitute(f"${{{written}}}", around, "here", problems)
    expected = message.replace("FOLDER", str(tmp_path))
    assert [str(each) for each in problems] == [f"here: ${{{written}}}: {expected}"]
    assert substitute(f"${{{written}:-x}}", around, "here", []) == "x"


@pytest.mark.parametrize("path", ["metadata.name", "metadata.labels['k']", "metadata.annotations['k']"])
def test_a_fallback_hides_no_file_that_cannot_be_used(path: str, tmp_path: Path) -> None:
    """A file that is there should tell the field: what is wrong with it is told, and no value."""
    (tmp_path / "name").mkdir()
    (tmp_path / "labels").write_text('k="hunter2')
    os.mkfifo(tmp_path / "annotations")
    problems: list[Problem] = []
    around = Surroundings({}, lambda: Given("pod_info", (str(tmp_path),), "--pod-info"))
    substitute(f"${{$.{path}:-x}}", around, "here", problems)
    assert len(problems) == 1
    assert f"{tmp_path}/" in problems[0].message
    assert "hunter2" not in problems[0].message


@pytest.mark.parametrize(
    "path", ["$", "$.", "$.metadata", "$.metadata.nam", "$.status.phase", "metadata.labels", "$..", "$x"]
)
def test_a_path_that_the_downward_api_has_not_is_told(path: str) -> None:
    """A fallback does not hide it."""
    problems: list[Problem] = []
    substitute(f"${{{path}:-x}}", Surroundings({}, lambda: None), "here", problems)
    assert len(problems) == 1
    assert "is no path of the downward API" in problems[0].message


def test_a_map_is_read_with_the_place_of_every_fault() -> None:
    """Any end of line will do, blank lines say nothing, no value is shown, and what is good is kept."""
    problems: list[Problem] = []
    text = 'a="1"\r\n\nb="x=\\"y\\"\\n"\nhunter2\na="hunter2"\nc="hunter2\n="hunter2"\nd=hunter2\nb"="hunter2"'
    assert read_map(text, "/p/labels", problems) == [("a", "1"), ("b", 'x="y"\n')]
    assert [each.place for each in problems] == [f"/p/labels line {line}" for line in (4, 5, 6, 7, 8, 9)]
    assert not any("hunter2" in str(each) for each in problems)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_fifo, "is no regular file, as the kubelet writes them"),
        (Path.mkdir, "is no regular file, as the kubelet writes them"),
        (lambda path: path.symlink_to("/dev/zero"), "is no regular file, as the kubelet writes them"),
        (lambda path: path.write_bytes(b'a="\xff"'), "is not UTF-8 (line 1)"),
        (lambda path: path.write_bytes(b'a="\0"'), "holds a NUL byte: the kubelet writes text"),
        (lambda path: path.write_bytes(b"a" * (2 << 20 | 1)), "is larger than 2 MiB: nothing of a pod is"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
    ],
    ids=["fifo", "folder", "device", "bytes", "nul", "large", "loop"],
)
def test_a_file_that_cannot_be_used_keeps_shut(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    """None of them is waited for, and each is told with its path."""
    make(tmp_path / "annotations")
    done = gatekeeper("plan", f"--pod-info={tmp_path}", "tcp://a:1")
    assert done.returncode == 2
    assert done.stderr == f"gatekeeper: 1 problem, nothing was probed\n{tmp_path}/annotations: {message}\n"


def test_a_folder_that_is_named_must_be_there(tmp_path: Path) -> None:
    """The usual one need not be; an argument and its twin are told by their names."""
    done = gatekeeper("plan", f"--pod-info={tmp_path}/x", "tcp://a:1")
    assert f"--pod-info: {tmp_path}/x is not there: mount a downward API volume" in done.stderr
    (tmp_path / "file").write_text("")
    done = gatekeeper("plan", "tcp://a:1", GATEKEEPER_POD_INFO=f"{tmp_path}/file")
    assert f"GATEKEEPER_POD_INFO: {tmp_path}/file is no folder" in done.stderr
    assert done.returncode == 2
    (tmp_path / "..data").symlink_to("gone")
    done = gatekeeper("plan", f"--pod-info={tmp_path}", "tcp://a:1")
    assert f"--pod-info: {tmp_path} cannot be read: is replaced faster" in done.stderr


def swap(folder: Path, number: int) -> None:
    """Replace the files as the kubelet does (AtomicWriter): a new folder, a new link over the old, the old removed."""
    new = folder / f"..{number}"
    new.mkdir()
    for name in ("annotations", "labels", "name"):
        (new / name).write_text(f'key="{number}"')
    (folder / "..data_tmp").symlink_to(new.name)
    (folder / "..data_tmp").rename(folder / "..data")
    old = folder / f"..{number - 1}"
    if old.is_dir():
        for path in old.iterdir():
            path.unlink()
        old.rmdir()


def test_all_files_are_of_one_moment_while_they_are_swapped(tmp_path: Path) -> None:
    """However often the kubelet replaces them, none is missing and none is of another moment."""
    swap(tmp_path, 0)
    for name in ("annotations", "labels", "name"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    over = threading.Event()

    def write() -> None:
        number = 1
        while not over.is_set():
            swap(tmp_path, number)
            number += 1
            over.wait(0.0005)  # the kubelet takes a minute

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [read_files(str(tmp_path), ("annotations", "labels", "name", "none")) for _ in range(500)]
    finally:
        over.set()
        writer.join()
    assert {len(set(files.texts.values())) for files in seen} == {1}
    assert {(len(files.texts), len(files.faults)) for files in seen} == {(3, 0)}
    assert len({files.texts["name"] for files in seen}) > 1


def test_annotations_declare(tmp_path: Path) -> None:
    """Arguments and environment win over them, they over the plan file that they name, and fields are replaced."""
    (tmp_path / "plan.yaml").write_text("interval: 7s\nsuccesses: 9\ndependencies: {in-plan: 'tcp://p:1'}\n")
    (tmp_path / "labels").write_text('app="shop"')
    (tmp_path / "annotations").write_text(
        "dev.gatekeeper/dependencies=\"db=tcp://${$.metadata.labels['app']}.${$.metadata.namespace}:1\\n"
        'api=tcp://annotated:1"\n'
        'dev.gatekeeper/timeout="9s"\ndev.gatekeeper/stable-for="8s"\ndev.gatekeeper/successes="7"\n'
        f'dev.gatekeeper/file="{tmp_path}/plan.yaml"\nkubernetes.io/config.seen="\\u00e9"'
    )
    told = plan(
        "--timeout=1s",
        "api=tcp://argument:1",
        GATEKEEPER_POD_INFO=str(tmp_path),
        GATEKEEPER_STABLE_FOR="2s",
        POD_NAMESPACE="ns",
    )
    targets = {each["name"]: each["target"] for each in told["dependencies"]}
    assert targets == {"db": "tcp://shop.ns:1", "api": "tcp://argument:1", "in-plan": "tcp://p:1"}
    gate = {key: (each["value"], each["origin"]) for key, each in told["gate"].items()}
    assert gate["timeout"] == ("1s", "--timeout")
    assert gate["stable_for"] == ("2s", "GATEKEEPER_STABLE_FOR")
    assert gate["successes"] == ("7", "dev.gatekeeper/successes")
    assert gate["interval"][0] == "7s"
    assert gate["pod_info"] == (str(tmp_path), "GATEKEEPER_POD_INFO")


def test_what_is_wrong_with_annotations_is_told_at_once(tmp_path: Path) -> None:
    """A line, a value, an unknown option and one that annotations may not say, each with its place."""
    (tmp_path / "annotations").write_text(
        'dev.gatekeeper/timeout="soon"\ndev.gatekeeper/timeuot="1s"\ndev.gatekeeper/pod-info="/x"\nhalf="wri\n'
        'dev.gatekeeper/dependencies="\\ntpc://a:1"'
    )
    done = gatekeeper("wait", f"--pod-info={tmp_path}")
    assert done.returncode == 2
    assert {line.split(": ")[0] for line in done.stderr.splitlines()[1:]} == {
        f"{tmp_path}/annotations line 4",
        "dev.gatekeeper/timeuot",
        "dev.gatekeeper/pod-info",
        "dev.gatekeeper/timeout",
        "dev.gatekeeper/dependencies line 2",
    }


def test_the_hook_takes_no_folder() -> None:
    """Its runtime tells it the annotations."""
    state = {"ociVersion": "1.0", "id": "x", "pid": 0, "status": "starting", "bundle": "/", "annotations": {}}
    command = [sys.executable, "-m", "gatekeeper", "hook", "--pod-info=/x", "tcp://a:1"]
    done = subprocess.run(command, input=json.dumps(state), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--pod-info: a hook is told the annotations by its runtime" in done.stderr


def test_whoever_asks_for_no_field_loads_nothing(tmp_path: Path) -> None:
    """The modules of this part are loaded for a reference or a folder alone."""
    code = "import sys, gatekeeper.declared as d; d.declared('plan', sys.argv[1:]); print(*sys.modules)"

    def loaded(*arguments: str) -> set[str]:
        command = [sys.executable, "-c", code, *arguments]
        words = subprocess.run(command, capture_output=True, text=True, check=True, env={"A": "a"}).stdout.split()
        return {each.removeprefix("gatekeeper.declare.") for each in words if each.startswith("gatekeeper.declare.")}

    ours = {"downward", "podinfo", "goquote", "pod"}
    assert not loaded("tcp://${A}:1") & ours
    assert loaded("tcp://${A}:1", f"--pod-info={tmp_path}") >= ours
