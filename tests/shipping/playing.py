"""A pod that podman plays, and what is seen of it: the gate's log, and when main was started, if ever."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .podman import Podman, until


class Played:
    """A pod on the network of podman's namespace, from its start until it is removed."""

    def __init__(
        self, podman: Podman, pod: Any, folder: Path, *others: Any, options: Sequence[str] = (), wrapped: bool = False
    ) -> None:
        """Let podman play a pod, with what stands beside it in its manifest; ``wrapped`` where main itself waits."""
        self._podman = podman
        self.name = pod["metadata"]["name"]
        self.gate = f"{self.name}-gatekeeper"
        self.main = f"{self.name}-{pod['spec']['containers'][0]['name']}"
        self.holder = self.main if wrapped else self.gate
        manifest = folder / f"{self.name}.yaml"
        manifest.write_text("\n---\n".join(json.dumps(each) for each in (*others, pod)))
        self._kube = podman.start("play", "kube", "--network=host", *options, manifest)

    def log(self) -> list[dict[str, Any]]:
        """Return what the gate has said so far."""
        return [json.loads(line) for line in self._podman.logs(self.holder).splitlines() if line[0] == "{"]

    def wait_until_it_waits_for(self, dependency: str) -> None:
        """Return once the gate has attempted at a dependency and told that it is not there; main is not started."""
        until(
            lambda: any(each.get("name") == dependency and each["state"] == "waiting" for each in self.log()),
            f"{self.holder} waits for {dependency}",
        )
        assert self.said() == []
        assert self.holder == self.main or self._podman.state(self.main) == "created"

    def said(self) -> list[str]:
        """Return what main's own program has said."""
        if self._podman.state(self.main) in ("absent", "created"):
            return []
        return [line for line in self._podman.logs(self.main).splitlines() if line[0] != "{"]

    def end(self) -> int:
        """Wait for the end of the init containers; return what podman left with."""
        said, _ = self._kube.communicate(timeout=60)
        assert self._kube.returncode in (0, 125), said
        return self._kube.returncode

    def opened(self) -> float:
        """Return when the gate opened."""
        (last,) = [each for each in self.log() if each["event"] == "gate.open"]
        return datetime.fromisoformat(last["timestamp"]).timestamp()

    def started(self) -> float:
        """Return when main was started, as it says."""
        until(self.said, f"{self.main} says when it was started")
        return float(self.said()[0])

    def exit_code_of_the_gate(self) -> int:
        """Return what that container left with which waits."""
        until(lambda: self._podman.state(self.holder) == "exited", f"{self.holder} gives up")
        return int(self._podman.inspect(self.holder)["State"]["ExitCode"])

    def never_started(self) -> bool:
        """Tell whether main was never started, and there is no process that could."""
        state = self._podman.inspect(self.main)["State"]
        return state["Status"] == "created" and state["StartedAt"].startswith("0001-01-01")


def planned(podman: Podman, image: str, words: list[str], *options: str) -> dict[str, str]:
    """Return the dependencies that gatekeeper, in its image, makes of the arguments of a container: names, targets."""
    done = podman("run", "--rm", "--network=host", *options, image, "plan", "--output=json", *words)
    return {each["name"]: each["target"] for each in json.loads(done.stdout)["dependencies"]}
