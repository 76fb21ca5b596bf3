"""The command inject as it is called: what it refuses and where, what it warns of, and what it leaves alone."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gatekeeper.declaration import BadDeclarationError
from gatekeeper.inject.gate import for_kubelet
from gatekeeper.inject.injected import injected

IMAGE = ("--image", "registry.example.com/gatekeeper:0.1.0")
POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: shop
  labels: {app: shop}
spec:
  containers:
    - name: shop
      image: registry.example.com/shop:1
      command: [/shop]
      env:
        - name: PORT
          value: "5432"
"""


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    """Return a manifest of one pod."""
    path = tmp_path / "pod.yaml"
    path.write_text(POD)
    return path


def run(*words: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run gatekeeper inject to its end."""
    command = [sys.executable, "-m", "gatekeeper", "inject", *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)


def refused(*words: str | Path) -> list[str]:
    """Return what is wrong, a line each."""
    with pytest.raises(BadDeclarationError) as caught:
        injected([str(word) for word in (*IMAGE, *words)])
    return str(caught.value).split("\n")


def gate(*words: str | Path) -> Any:
    """Return the init container that comes first."""
    tree = yaml.safe_load(injected([str(word) for word in (*IMAGE, *words)]).text)
    return tree["spec"]["initContainers"][0]


def test_stdin_to_stdout_and_nothing_beside_it() -> None:
    """A filter: what is added stands in the output, and nothing is said where nothing is odd."""
    done = run(*IMAGE, "db=tcp://db:5432", text=POD)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(POD[: POD.index("  containers")] + "  initContainers:\n    - name: gatekeeper\n")
    assert done.stdout.endswith(POD[POD.index("  containers") :])


@pytest.mark.needs("patch")
def test_a_diff_is_what_patch_would_take(pod: Path) -> None:
    """--diff prints the difference alone."""
    done = run(*IMAGE, "--diff", "db=tcp://db:5432", pod)
    assert done.returncode == 0
    assert done.stdout.startswith(f"--- a{pod}\n+++ b{pod}\n@@")
    patched = subprocess.run(["patch", "-o", "-", pod], input=done.stdout, capture_output=True, text=True, check=True)
    assert patched.stdout == run(*IMAGE, "db=tcp://db:5432", pod).stdout


def test_everything_wrong_is_told_at_once_and_nothing_is_written(pod: Path) -> None:
    """A bad manifest, a bad dependency, a bad option and a missing image: exit status 2 and an empty stdout."""
    done = run("tpc://db:1", "-t", "5x", "nowhere.yaml", pod)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "gatekeeper: 4 problems, nothing was probed\n"
        "'nowhere.yaml': is neither a file that is there nor a dependency: check the path, or write KIND:// before a"
        " target\n"
        "--timeout: '5x' is no duration: write 300ms, 2s, 1m30s, 1h, or a bare number of seconds\n"
        "argument 1: unknown kind tpc; did you mean tcp?\n"
        "--image: is not there: name the image of gatekeeper, as in --image registry.example.com/gatekeeper:0.1.0\n"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("      image", "\timage"), "line 9, column 1: is no YAML: found character '\\t' that cannot start any token"),
        (("kind: Pod", "kind: Job"), "line 7, column 3: template is missing, or no mapping: this is no whole manifest"),
        (("  containers:\n", "  containers: 5\n  x:\n"), "line 7, column 15: containers is no list of containers"),
        (("name: shop\n      image", "name: gatekeeper\n      image"), "line 8, column 7: a container has the name"),
        (("spec:\n", "x: &a {y: 1}\nspec: *a\nz:\n"), "line 7, column 7: spec is an alias"),
        (
            ("spec:\n", "x: &x {initContainers: [{name: i}]}\nspec:\n  <<: *x\n"),
            "line 8, column 7: initContainers comes from <<",
        ),
        (("spec:\n", "spec:\n  initContainers: 5\n"), "line 7, column 19: initContainers is no list of containers"),
        (
            ("spec:\n", "spec:\n  initContainers: [{name: gatekeeper, image: other}]\n"),
            "line 7, column 20: an init container has the name gatekeeper and is none of ours",
        ),
        (("labels: {app", 'annotations: {dev.gatekeeper/inject: "maybe"}\n  labels: {app'), "neither"),
        (("name: shop\n  labels", "name: {{ .Values.name }}\n  labels"), "a template of Helm?"),
        (("      image", "      name: other\n      image"), "line 9, column 7: name is given twice: keep one"),
        (("  containers:", "  <<: {hostname: a}\n  other:"), "line 7, column 3: containers comes from <<, if at all"),
    ],
    ids=[
        *("tab", "job", "containers", "name", "alias", "merge", "no-list", "taken", "annotation", "helm"),
        *("twice", "merged-containers"),
    ],
)
def test_what_cannot_be_changed_is_refused_with_its_place(pod: Path, change: tuple[str, str], told: str) -> None:
    """Each manifest is refused with file, line and column, rather than broken."""
    assert change[0] in POD
    pod.write_text(POD.replace(*change, 1))
    if "Helm" in told:
        pod.write_text(pod.read_text() + "{{- if .Values.x }}\n")
    (line,) = refused("db=tcp://db:1", pod)
    assert line.startswith(str(pod))
    assert told in line


def test_what_an_anchor_shares_is_not_changed_in_two_places(pod: Path) -> None:
    """A spec that another document part refers to is refused, because the addition would show there too."""
    pod.write_text(POD.replace("spec:", "spec: &spec") + "copy: *spec\n")
    (line,) = refused("db=tcp://db:1", pod)
    assert "nothing can be added here that would change nothing else: write out what anchors share" in line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--wrap", "--native-sidecar"), "--wrap: and --native-sidecar are two ways of waiting: keep one"),
        (("--wrap=other",), "Pod shop has no container other: it has shop"),
        (("--report=x",), "--report: inject passes no --report on: leave it out"),
        (("--keep-watching",), "--keep-watching: is for a native sidecar: add --native-sidecar"),
        (("--export-env=-",), "--export-env: is for a program behind the gate: add --wrap"),
        (("--pod-info=/etc/podinfo",), "--pod-info: inject passes no --pod-info on: leave it out"),
        (("--", "true"), "--: inject starts no command: what a container runs stands in its manifest"),
        (("--difff",), "--difff: unknown option"),
        (("api=http://api:8080/ status=${S} sttus=1",), "argument 2: sttus: http has no option sttus"),
    ],
    ids=["two", "container", "report", "serve", "export", "pod-info", "command", "typo", "option"],
)
def test_words_that_mean_nothing_here_are_refused(pod: Path, words: tuple[str, ...], told: str) -> None:
    """Each is told with what would be right."""
    first = refused("db=tcp://db:1", pod, *words)[0]
    assert told in first


def test_a_command_that_only_the_image_knows_cannot_be_wrapped(pod: Path) -> None:
    """The refusal says what to write."""
    pod.write_text(POD.replace("      command: [/shop]\n", ""))
    (line,) = refused("db=tcp://db:1", pod, "--wrap")
    assert "container shop has no command" in line
    assert "write the image's ENTRYPOINT as command" in line


@pytest.mark.parametrize(
    ("place", "word"),
    [
        ("/gatekeeper/", "--wrap"),
        ("/gatekeeper/bin", "--wrap"),
        ("/run/gatekeeper", "--native-sidecar=shop"),
    ],
)
def test_what_is_mounted_in_our_place_is_told(pod: Path, place: str, word: str) -> None:
    """The API server refuses two mounts at one place, and one within ours would hide the agent."""
    mounts = f"volumeMounts: [{{name: v, mountPath: {place}}}]"
    pod.write_text(POD.replace("      command", f"      {mounts}\n      command"))
    (line,) = refused("db=tcp://db:1", pod, word)
    assert f"v is mounted at {place.rstrip('/')}, where gatekeeper's files go" in line


def test_a_notify_socket_of_somebody_else_is_not_replaced(pod: Path) -> None:
    """Only the variable that inject has written is its own."""
    pod.write_text(POD.replace("name: PORT", "name: NOTIFY_SOCKET"))
    (line,) = refused("db=tcp://db:1", pod, "--native-sidecar=shop")
    assert "a variable has the name NOTIFY_SOCKET and is none of ours" in line


def test_no_container_keeps_the_socket_of_a_sidecar_that_is_gone(pod: Path) -> None:
    """What a sidecar heard is told of once it would be replaced by something that hears nobody."""
    pod.write_text(injected([*IMAGE, "db=tcp://db:1", str(pod), "--native-sidecar=shop"]).text)
    (line,) = refused("db=tcp://db:1", pod)
    assert "shop has the NOTIFY_SOCKET of a sidecar: take it out of its env, or say --native-sidecar=shop" in line


@pytest.mark.parametrize("words", [(), ("--wrap",), ("--native-sidecar",)])
def test_the_gate_of_a_pod_that_runs_as_root_does_not(pod: Path, words: tuple[str, ...]) -> None:
    """The kubelet starts no container that is to be root and must not be; another user is the image's to name."""
    assert "runAsUser" not in gate("db=tcp://db:1", pod, *words)["securityContext"]
    pod.write_text(POD.replace("spec:\n", "spec:\n  securityContext: {runAsUser: 0}\n"))
    context = gate("db=tcp://db:1", pod, *words)["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"]) == (True, 65532)


def test_references_stay_for_the_pod_and_bring_their_variables(pod: Path) -> None:
    """A reference is no error here; the variable that the pod's own container has is given to the gate."""
    made = gate("db=tcp://db:${PORT}", "x=tcp://x:${X:-1}", pod)
    assert made["env"] == [
        {"name": "PORT", "value": "5432"},
        {"name": "GATEKEEPER_DEPENDENCIES", "value": "db=tcp://db:${PORT}\nx=tcp://x:${X:-1}"},
    ]
    warnings = injected([*IMAGE, "db=tcp://${HOST}:1", str(pod)]).warnings
    assert [each.partition("Pod shop ")[2] for each in warnings] == [
        "refers to HOST, which no container here has in its env: set it, or write ${HOST:-…}"
    ]


def test_the_variables_of_services_are_the_kubelet_s_to_set(pod: Path) -> None:
    """They are in no manifest, and nobody is warned that they are not."""
    links = ["R_SERVICE_HOST", "R_SERVICE_PORT", "R_SERVICE_PORT_HTTP", "R_PORT", "R_PORT_6379_TCP_ADDR"]
    words = [f"d{number}=tcp://${{{name}}}:1" for number, name in enumerate(links)]
    assert injected([*IMAGE, *words, str(pod)]).warnings == ()
    assert injected([*IMAGE, "tcp://${R_ADDRESS}:1", str(pod)]).warnings


@pytest.mark.parametrize("text", ["$(A)", "$$(A)", "$$", "$$$", "${A}", "a$", "$a$$b$$$(c)$", "$$${A}"])
def test_the_kubelet_gives_back_what_was_written(text: str) -> None:
    """Expanded as the kubelet does it (third_party/forked/golang/expansion), the text is itself again."""
    expanded, rest = "", for_kubelet(text)
    while rest:
        two = rest[:2]
        assert two != "$(", "a reference that the kubelet would replace"
        expanded += "$" if two == "$$" else rest[0]
        rest = rest[2:] if two == "$$" else rest[1:]
    assert expanded == text


def test_a_plan_file_becomes_lines(pod: Path, tmp_path: Path) -> None:
    """The pod has no plan file: what it declares stands in the manifest, and arguments win over it."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "timeout: 90s\nany: true\ndependencies:\n  db: tcp://old:1\n  api:\n    target: http://api:8080/\n"
        "    status: [200, 204]\n    header: {Accept: text/plain}\n    after: [db]\n"
        "  cache:\n    any: ['tcp://a:1', 'tcp://b:1']\n    need: 1\n"
    )
    made = gate("-f", plan, "db=tcp://db:5432", pod)
    assert made["args"] == ["wait", "--timeout=90s", "--any=true"]
    assert made["env"][-1]["value"].split("\n") == [
        "db=tcp://db:5432",
        "api=http://api:8080/ status=200 status=204 'header=Accept: text/plain' after=db",
        "cache=tcp://a:1|tcp://b:1 need=1",
    ]
    planned = [sys.executable, "-m", "gatekeeper", "plan", *made["args"][1:]]
    environ = {"GATEKEEPER_DEPENDENCIES": made["env"][-1]["value"]}
    assert subprocess.run(planned, env=environ, capture_output=True, timeout=60, check=False).returncode == 0


def test_options_with_several_values_and_with_none_are_passed_on(pod: Path) -> None:
    """What may stand alone takes no word behind it, and what may be said twice is."""
    made = gate("--from-env", "db=tcp://db:5432", "--needs", "A_URL", "--needs=B_URL", "-t2m", "--any", pod)
    assert made["args"] == ["wait", "--from-env=*", "--needs=A_URL", "--needs=B_URL", "--timeout=2m", "--any"]
    assert made["env"][-1]["value"] == "db=tcp://db:5432"


def test_only_the_annotated_are_changed_and_who_says_no_never(pod: Path) -> None:
    """--only-annotated wants "true"; "false" holds without it too."""
    words = [*IMAGE, "db=tcp://db:1", str(pod)]
    assert injected([*words, "--only-annotated"]).text == POD
    for said, changed in (("true", True), ("false", False)):
        text = POD.replace("  labels", f'  annotations: {{dev.gatekeeper/inject: "{said}"}}\n  labels')
        pod.write_text(text)
        assert (injected([*words, "--only-annotated"]).text != text) is changed
        assert (injected(words).text != text) is changed


MESHED = POD.replace("  labels", '  annotations: {sidecar.istio.io/inject: "true"}\n  labels')
NATIVE = MESHED.replace("annotations: {", 'annotations: {sidecar.istio.io/nativeSidecar: "true", ')
SERVICE = "---\napiVersion: v1\nkind: Service\nmetadata: {name: front}\nspec: {selector: {app: shop}}\n"


@pytest.mark.parametrize(
    ("text", "words", "told"),
    [
        (MESHED, (), ["an init container runs outside of it"]),
        (NATIVE, (), ["asks by tcp:// through the proxy of Istio"]),
        (MESHED, ("--istio-cni",), ["waits as user 1337, past the proxy of Istio"]),
        (MESHED, ("--wrap",), ["holdApplicationUntilProxyStarts", "asks by tcp:// through the proxy of Istio"]),
        (POD + SERVICE, ("tcp://front:80",), ["waits for the Service front, which leads to this very pod"]),
        (POD + SERVICE, ("http://front.other.svc:80/",), ["waits for the Service front"]),
        (POD.replace("spec:\n", "spec:\n  activeDeadlineSeconds: 60\n"), (), ["has activeDeadlineSeconds: 60"]),
        (POD + "      livenessProbe: {}\n", ("--wrap",), ["has a livenessProbe and no startupProbe"]),
        (
            POD + "      startupProbe: {failureThreshold: 6}\n",
            ("--wrap",),
            ["startupProbe that lasts 1m, and may wait 5m"],
        ),
        (POD + "      startupProbe: {failureThreshold: 60}\n", ("--wrap",), []),
        (POD, ("--timeout=0",), []),
        (POD + "      lifecycle: {postStart: {sleep: {seconds: 1}}}\n", ("--wrap",), ["has a postStart hook"]),
        (POD.replace("spec:\n", "spec:\n  os: {name: windows}\n"), (), ["is for Windows"]),
        (POD.replace("spec:\n", "spec:\n  nodeSelector: {kubernetes.io/os: windows}\n"), (), ["is for Windows"]),
        (
            POD.replace("spec:\n", "spec:\n  automountServiceAccountToken: false\n"),
            ("k8s://job/migrate",),
            ["asks the API server by k8s://, and has automountServiceAccountToken: false"],
        ),
        (POD.replace("spec:\n", "spec:\n  automountServiceAccountToken: false\n"), (), []),
        (
            POD.replace("spec:\n", "spec:\n  hostNetwork: true\n") + "      ports: [{containerPort: 8079}]\n",
            ("--native-sidecar",),
            ["port 8079 of the sidecar is one of the node", "container shop names port 8079"],
        ),
        (POD.replace("spec:\n", "spec:\n  hostNetwork: true\n"), (), []),
        ("kind: ConfigMap\n", (), ["has no pod in it"]),
    ],
)
def test_what_may_not_work_is_said(pod: Path, text: str, words: tuple[str, ...], told: list[str]) -> None:
    """Each warning says what is odd and what to do; without a reason there is none."""
    pod.write_text(text)
    warnings = injected([*IMAGE, "db=tcp://db:1", *words, str(pod)]).warnings
    assert len(warnings) == len(told)
    for warning, words_in_it in zip(warnings, told, strict=True):
        assert words_in_it in warning


def test_a_tag_that_moves_is_warned_of_and_a_digest_is_kept(pod: Path) -> None:
    """An image is written as it was given."""
    digest = "registry.example.com:5000/gatekeeper@sha256:" + "0" * 64
    assert gate("db=tcp://db:1", pod)["image"] == IMAGE[1]
    done = injected(["--image", digest, "tcp://db:1", str(pod)])
    assert f"image: {digest}\n" in done.text.replace('"', "")
    assert not done.warnings
    assert injected(["--image=registry.example.com:5000/gatekeeper", "tcp://db:1", str(pod)]).warnings


def test_several_files_become_documents(pod: Path, tmp_path: Path) -> None:
    """What follows another file begins a document of its own."""
    other = tmp_path / "other.yaml"
    other.write_text(POD.replace("shop", "other").rstrip("\n"))
    made = list(yaml.safe_load_all(injected([*IMAGE, "tcp://db:1", str(other), str(pod)]).text))
    assert [each["metadata"]["name"] for each in made] == ["other", "shop"]


def test_a_gate_that_was_written_by_hand_is_left_as_it_is() -> None:
    """The example has one with its dependencies among the arguments: nothing of it changes."""
    path = Path(__file__).parents[2] / "examples/kubernetes/deployment.yaml"
    done = injected([*IMAGE, "tcp://db:1", str(path)])
    assert done.text == path.read_text()
    assert "has a gatekeeper that was written by hand: it is left as it is" in done.warnings[0]


DOCS = (Path(__file__).parents[2] / "docs/inject.md").read_text()


@pytest.mark.parametrize("command", [line[2:] for line in DOCS.splitlines() if line.startswith("$ ")])
def test_the_commands_of_the_page_run_as_they_stand(pod: Path, command: str) -> None:
    """Each command of docs/inject.md gives a manifest, or a difference."""
    pod.rename(pod.with_name("deployment.yaml"))
    pod.with_name("plan.yaml").write_text("dependencies: {db: tcp://postgres:5432}\n")
    program = command.replace("gatekeeper", f"'{sys.executable}' -m gatekeeper", 1)
    done = subprocess.run(program, shell=True, cwd=pod.parent, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "name: gatekeeper" in done.stdout


def test_the_help_names_every_option() -> None:
    """--help prints the options of inject itself."""
    page = run("--help").stdout
    assert all(
        option in page for option in ("--image REF", "--native-sidecar[=CONTAINER]", "--wrap", "--diff", "--last")
    )


def test_json_may_be_indented_by_tabs(pod: Path) -> None:
    """Behind a byte order mark too; a tab in YAML stays what it is there, an error with its place."""
    text = json.dumps(yaml.safe_load(POD), indent="\t")
    pod.write_text(f"\ufeff{text}\n")
    made = injected([*IMAGE, "tcp://db:1", str(pod)]).text
    assert made.startswith("\ufeff{\n\t")
    assert json.loads(made[1:])["spec"]["initContainers"][0]["name"] == "gatekeeper"
    assert '\n\t\t\t{\n\t\t\t\t"name": "gatekeeper"' in made


def test_a_patch_is_no_pod(pod: Path) -> None:
    """What kustomize merges into a workload need have no containers: it is given out unchanged, and that is said."""
    text = POD[: POD.index("  containers")] + "  nodeName: here\n"
    pod.write_text(text)
    done = injected([*IMAGE, "tcp://db:1", str(pod)])
    assert done.text == text
    assert "Pod has no containers (is it a patch?): it is left as it is" in done.warnings[0]
