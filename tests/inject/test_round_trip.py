"""What is added is all that changes: every manifest, in every style, with every shape of the gate."""

import copy
import difflib
import json
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import pytest
import yaml

from gatekeeper.declaration import BadDeclarationError
from gatekeeper.inject.injected import injected

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "manifests"
ZOO = sorted(each for each in HERE.iterdir() if each.suffix in (".yaml", ".json"))
EXAMPLES = sorted(each for each in (ROOT / "examples").rglob("*") if each.suffix in (".yaml", ".json"))
SHAPES = {"init": (), "sidecar": ("--native-sidecar",), "wrap": ("--wrap",)}
WORDS = ("--image", "registry.example.com/gatekeeper:0.1.0", "db=tcp://postgres:5432 timeout=2m", "http://api:8080/")
AGENT = "/gatekeeper/bin/gatekeeper"


class Done(NamedTuple):
    """What came out of inject."""

    stdout: bytes
    stderr: tuple[str, ...]


def inject(*words: str | Path, text: bytes | None = None) -> Done:
    """Inject into a file, or into a text, with the function behind the command."""
    with NamedTemporaryFile(suffix=".yaml") as file:
        if text is not None:
            file.write(text)
            file.flush()
            words = (*words, file.name)
        done = injected([str(word) for word in words])
    return Done(done.text.encode(), done.warnings)


def documents(data: bytes) -> list[Any]:
    """Return what PyYAML, or of JSON with tabs Python, makes of a manifest: another reader than ours."""
    return [json.loads(data)] if b"\n\t" in data else list(yaml.safe_load_all(data.decode("utf-8-sig")))


def specs(tree: Any) -> list[Any]:
    """Return every pod's spec: whatever has containers where a pod has them."""
    if isinstance(tree, list):
        return [spec for each in tree for spec in specs(each)]
    if not isinstance(tree, dict):
        return []
    found = [spec for each in tree.values() for spec in specs(each)]
    return [*found, tree] if isinstance(tree.get("containers"), list) else found


def without_ours(tree: Any) -> Any:
    """Return the documents without what inject adds, and without lists that have nothing in them."""
    tree = copy.deepcopy(tree)
    for spec in specs(tree):
        for key in ("initContainers", "volumes"):
            spec[key] = [each for each in spec.get(key) or [] if each["name"] != "gatekeeper"]
        for container in spec["containers"]:
            mounts = container.get("volumeMounts") or []
            container["volumeMounts"] = [each for each in mounts if each["name"] != "gatekeeper"]
            command = container.get("command") or []
            if command[:1] == [AGENT]:
                container["command"] = command[command.index("--") + 1 :]
    return tree


def lacks_command(tree: Any) -> bool:
    """Tell whether a pod of ours to change leaves it to an image what runs; a gate that is there stays as it is."""
    return any(
        "command" not in spec["containers"][0]
        for spec in specs(tree)
        if not any(each["name"] == "gatekeeper" for each in spec.get("initContainers") or [])
        and spec["containers"][0]["name"] not in ("opted-out", "x")
        and set(spec["containers"][0]) >= {"name", "image"}
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", [*EXAMPLES, *ZOO], ids=lambda path: path.name)
def test_nothing_but_the_addition_changes(path: Path, shape: str) -> None:
    """Another parser finds the input and ours; no line is lost or moved; and a second time changes nothing."""
    before = path.read_bytes()
    if shape == "wrap" and lacks_command(documents(before)):
        with pytest.raises(BadDeclarationError, match="has no command"):
            inject(*SHAPES[shape], *WORDS, path)
        return
    done = inject(*SHAPES[shape], *WORDS, path)
    after = done.stdout
    assert without_ours(documents(after)) == without_ours(documents(before))
    old, new = before.decode().splitlines(keepends=True), after.decode().splitlines(keepends=True)
    # What goes away is a line that has got more in it, brackets around nothing, or a last line that had no end.
    gone = [line[2:].strip() for line in difflib.ndiff(old, new) if line.startswith("- ")]
    assert all(
        line.endswith(("}", "~")) or "[" in line or "null" in line for line in gone if line and line != old[-1].strip()
    ), gone
    again = inject(*SHAPES[shape], *WORDS, text=after)
    assert again.stdout == after


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.name)
def test_every_pod_that_wants_one_has_one_gate(path: Path) -> None:
    """The gate stands in each pod that a known kind makes, once, as the Restricted Pod Security Standard wants it."""
    left_alone = {"untouched.yaml", "opted-out.yaml", "empty.yaml"}
    for spec in specs(documents(inject(*WORDS, path).stdout)):
        gates = [each for each in spec.get("initContainers") or [] if each["name"] == "gatekeeper"]
        assert len(gates) == (path.name not in left_alone)
        for gate in gates:
            assert gate["env"][-1]["value"] == "\n".join(WORDS[2:])
            assert gate["securityContext"] == {
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }
            assert set(gate["resources"]["limits"]) == {"memory"}


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.name)
def test_other_words_take_the_place_of_the_first(path: Path) -> None:
    """Injected again with other dependencies, the manifest is as if the first had never been."""
    other = (*WORDS[:2], "--timeout=1m", "cache=tcp://redis:6379")
    for shape in SHAPES.values():
        first = inject(*shape, *WORDS, path)
        second = inject(*shape, *other, text=first.stdout)
        assert second.stdout == inject(*shape, *other, path).stdout


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.name)
def test_the_line_ends_of_the_file_are_kept(path: Path) -> None:
    """A file of Windows gets lines of Windows, and a last line without an end has none afterwards."""
    before, after = path.read_bytes(), inject(*WORDS, path).stdout
    assert (b"\r\n" in before) == (after.count(b"\r\n") == after.count(b"\n") > 0)
    assert before.endswith(b"\n") == after.endswith(b"\n")
