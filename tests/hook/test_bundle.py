"""What a bundle says: which files a container will see, how long its hooks may take, and what is too much to ask."""

import json
from pathlib import Path
from typing import Any

import pytest

from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.declare.pod import of_annotations
from gatekeeper.hook.bundle import read_bundle
from gatekeeper.hook.called import DEFAULT, bounded, outside
from gatekeeper.hook.confined import confined
from gatekeeper.model import GateOptions, Plan, Setting
from gatekeeper.probes import KINDS, load
from gatekeeper.probes._local import file_path
from gatekeeper.probes._options import options_of
from gatekeeper.probes._socketfile import socket_path

SCRIPT = ("/venv/bin/python3", "/venv/bin/python3", "/usr/local/bin/gatekeeper", "hook")
MODULE = ("/venv/bin/python3", "python3", "-m", "gatekeeper", "hook")


def made(folder: Path, **config: Any) -> Path:
    """Write a bundle, and return its folder."""
    (folder / "rootfs" / "etc").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"root": {"path": "rootfs"}} | config))
    return folder


def bind(source: str | Path, destination: str) -> dict[str, Any]:
    """Return a mount as engines write it."""
    return {"destination": destination, "source": str(source), "type": "bind", "options": ["rbind", "ro"]}


def test_a_mount_lies_over_the_root_and_over_earlier_ones(tmp_path: Path) -> None:
    """What is mounted last is what the container sees: the file itself, or the folder above it."""
    for name in ("first", "second", "rootfs/etc/hosts", "folder/hosts"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    hosts = "/etc/hosts"
    assert read_bundle(str(made(tmp_path))).source_of(hosts) == f"{tmp_path}/rootfs/etc/hosts"
    mounts = [bind(tmp_path / "first", hosts), bind("second", "etc/hosts")]
    assert read_bundle(str(made(tmp_path, mounts=mounts))).source_of(hosts) == f"{tmp_path}/second"
    mounts.append(bind(tmp_path / "folder", "/etc/"))
    assert read_bundle(str(made(tmp_path, mounts=mounts))).source_of(hosts) == f"{tmp_path}/folder/hosts"
    mounts.append({"destination": "/etc", "source": "tmpfs", "type": "tmpfs"})
    assert read_bundle(str(made(tmp_path, mounts=mounts))).source_of(hosts) == "/dev/null"


def test_links_of_the_root_stay_within_it(tmp_path: Path) -> None:
    """An image cannot make us read a file of the host, however its links climb or turn."""
    bundle = read_bundle(str(made(tmp_path)))
    etc = tmp_path / "rootfs" / "etc"
    (etc / "resolv.conf").symlink_to("../../../../../etc/../run/resolv.conf")
    assert bundle.source_of("/etc/resolv.conf") == "/dev/null"
    (tmp_path / "rootfs" / "run").mkdir()
    (tmp_path / "rootfs" / "run" / "resolv.conf").write_text("")
    assert bundle.source_of("/etc/resolv.conf") == f"{tmp_path}/rootfs/run/resolv.conf"
    (etc / "hosts").symlink_to("/etc/hosts")
    assert bundle.source_of("/etc/hosts") == "/dev/null"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"root": 1}', '{"root": {"path": 1}}', "[" * 100_000, '{"root":{"path":"x"},"mounts":[1]}'],
)
def test_a_config_that_is_none_is_told_of(tmp_path: Path, text: str) -> None:
    """Whatever stands there, it is an error with its place."""
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadDeclarationError, match="is no configuration of a container"):
        read_bundle(str(tmp_path))
    with pytest.raises(BadDeclarationError, match="cannot be read"):
        read_bundle(str(tmp_path / "missing"))


def test_our_own_entry_says_how_long_we_may_take(tmp_path: Path) -> None:
    """It is found by what was started, as a script or as a module, in the stage that it may be; the shortest counts."""
    script = {"path": "/usr/local/bin/gatekeeper", "args": ["gatekeeper", "hook"]}
    module = {"path": "/venv/bin/python3", "args": ["python3", "-m", "gatekeeper", "hook"], "timeout": 9}
    other = {"path": "/usr/local/bin/other", "args": ["other", "hook"], "timeout": 1}
    hooks = {
        "createRuntime": [script | {"timeout": 30}, module, other, script | {"timeout": 20}],
        "createContainer": [script],
        "startContainer": [script | {"timeout": 5}],
    }
    bundle = read_bundle(str(made(tmp_path, hooks=hooks)))
    assert bundle.limit(["prestart", "createRuntime"], SCRIPT) == 20
    assert bundle.limit(["createRuntime"], MODULE) == 9
    assert bundle.limit(["createContainer"], SCRIPT) is None
    assert bundle.limit(["createRuntime"], (*SCRIPT, "--timeout=1s")) is None


@pytest.mark.parametrize(
    ("declared", "limit", "meant"),
    [
        (None, None, DEFAULT),
        (None, 30.0, 28.5),
        (None, 900.0, 898.5),
        (5.0, 30.0, 5.0),
        (60.0, 30.0, 28.5),
        (600.0, None, 600.0),
        (0.0, None, None),
        (0.0, 30.0, 28.5),
        (None, 1.0, 0.25),
        (60.0, 0.1, 0.05),
    ],
)
def test_the_deadline_comes_before_the_runtimes_patience_ends(
    declared: float | None, limit: float | None, meant: float | None
) -> None:
    """What is declared counts as far as the runtime lets it, less the time that this process has run already."""
    setting = Setting("timeout", "x", "default" if declared is None else "dev.gatekeeper/timeout")
    options = GateOptions() if declared is None else GateOptions(timeout=declared or None)
    plan = bounded(Plan((), options, (setting,)), limit, 0.5)
    assert plan.options.timeout == meant
    if limit and meant != declared:
        assert plan.settings[0].origin.startswith("the hook's own timeout of ")


@pytest.mark.parametrize(("given", "meant"), [(None, "off"), ("/x", "/x"), ("off", "off")])
def test_a_termination_message_of_the_host_is_anothers(given: str | None, meant: str) -> None:
    """An engine may run in a container itself, whose termination message tells of that one."""
    assert outside(GateOptions(termination_log=given)).termination_log == meant


def problems(**annotations: str) -> list[str]:
    """Return the places of what is too much to ask of a hook outside of the container."""
    found: list[Problem] = []
    given = {f"dev.gatekeeper/{name.replace('_', '-')}": text for name, text in annotations.items()}
    source = of_annotations(given.items(), found, {})
    assert not found
    left = confined(source, found)
    assert not {each.place for each in found} & {each.place for each in left.settings}
    return [each.place for each in found]


def test_annotations_touch_nothing_of_the_host() -> None:
    """Commands, files and socket files would be the runtime's, and whoever may annotate is not its owner."""
    line = "dev.gatekeeper/dependencies line 1"
    for local in ("exec:reboot", "file:///etc/shadow", "unix:///run/docker.sock", "x=tcp://a:1|file:///x"):
        assert problems(dependencies=local)[0].startswith(line), local
    assert problems(dependencies="https://a ca=/x cert=/x key=/x") == [
        f"{line}: {key}" for key in ("ca", "cert", "key")
    ]
    assert problems(dependencies="http://a body_file=/x unix=/x auth_file=/x") == [
        f"{line}: {key}" for key in ("body_file", "unix", "auth_file")
    ]
    assert problems(dependencies="service://db via=api context=prod") == [
        f"{line}: {key}" for key in ("via", "context")
    ]
    assert problems(dependencies="service://db via=dns") == []
    for named in (
        "postgres:///app?host=/run/postgresql",
        "postgresql+psycopg2:///app?host=/run/postgresql",
        "postgres://u@%2Frun%2Fpostgresql/app",
        "postgres://db/app?sslmode=verify-full&sslrootcert=/x",
        "postgres://db/app?SSLKEY=/x",
        "mysql://u@db/app?unix_socket=/run/mysqld.sock",
        "mysql://db?ssl-ca=/x",
        "rediss://cache?ssl_ca_certs=/x",
        "redis://cache?ssl_keyfile=/x",
        "mongodb://db/app?tlsCertificateKeyFile=/x",
        "mongodb+srv://db/app?tlscafile=/x",
    ):
        assert problems(dependencies=named) == [line], named
    assert problems(dependencies="postgres://u:p@db/app?sslmode=require\nmysql://u:p@db/app?charset=utf8") == []
    assert problems(context="prod") == ["dev.gatekeeper/context"]
    for option in ("report", "ready_file", "termination_log"):
        assert problems(**{option: "/x"}) == [f"dev.gatekeeper/{option.replace('_', '-')}"]
    assert problems(termination_log="off", dependencies="tcp://a:1\nhttp://a\ndns://a\nservice://a:1\ntls://a:1") == []


def test_every_option_that_names_a_file_says_so() -> None:
    """A kind that is new is kept within the container unless it says that it goes over the network, file by file."""
    for kind in KINDS:
        for name, option in options_of(load(kind)).items():
            assert option.local == (option.parse in (file_path, socket_path)), f"{kind} {name}"
