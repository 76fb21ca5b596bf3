"""The options of the gate and those that every dependency takes: one table each, whatever they are said in.

Arguments, variables and plan files spell the same names; the help text and ``gatekeeper plan`` are made from here.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from gatekeeper.model import Address
from gatekeeper.values import (
    BadValueError,
    Option,
    duration,
    flag,
    limit,
    not_empty,
    one_of,
    pause,
    qualified_name,
    quoted,
    reason,
    whole,
)

COMMANDS = (
    *("wait", "check", "plan", "run", "serve", "status", "notify", "hook"),
    *("inject", "install", "kinds", "demo"),
)
PREFIX = "GATEKEEPER_"
DEPENDENCIES = "dependencies"
MOST = 1_000_000
USUAL_NOTIFY_SOCKET = "/run/gatekeeper/notify.sock"
USUAL_STATUS = Address("/run/gatekeeper/status.sock")


class GateOption(NamedTuple):
    """An option of the gate: how it is read, what stands for its value in the help, its default as text.

    ``bare`` is what it says where it stands alone, where it may: a value is then written behind ``=`` only.
    """

    option: Option
    metavar: str = ""
    default: str = ""
    short: str = ""
    bare: str = ""

    @property
    def is_flag(self) -> bool:
        """Tell whether the option stands alone."""
        return self.option.parse is flag


def _gate(parse: object, text: str, metavar: str = "", default: str = "", short: str = "") -> GateOption:
    return GateOption(Option(parse, text), metavar, default, short)  # type: ignore[arg-type]  # each row is a parser


def address(text: str) -> Address:
    """Return the address that ``unix:/PATH``, ``:PORT``, ``HOST:PORT`` or ``[IPv6]:PORT`` means.

    Raises `BadValueError`.
    """
    if text.startswith("unix:/"):
        path = "/" + text.removeprefix("unix:").lstrip("/")
        if len(path.encode(errors="surrogateescape")) <= 107:  # noqa: PLR2004 - sun_path, without the final NUL (unix(7))
            return Address(path)
    elif match := re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]*)):([0-9]+)", text, re.ASCII):
        return Address(None, match[1] or match[2] or None, whole(0, 65535)(match[3]))
    message = f"{quoted(text)} is no address: write unix:/PATH, :PORT or HOST:PORT"
    raise BadValueError(message)


def addresses(text: str) -> tuple[Address, ...]:
    """Return the addresses of a text, with commas between them; ``off`` gives none."""
    return () if text.strip().lower() == "off" else tuple(address(part.strip()) for part in text.split(","))


def patterns(text: str) -> str:
    """Return the pattern of names of variables that a text is; a word for yes is all of them, one for no is none.

    Raises `BadValueError`.
    """
    try:
        return "*" if flag(text) else "!*"
    except BadValueError:
        if re.fullmatch(r"!?[A-Za-z0-9_.*?-]+", text):
            return text
    message = f"{quoted(text)} is no pattern: write NAME with * and ?, several with commas, !NAME for all but these"
    raise BadValueError(message)


def variable_name(text: str) -> str:
    """Return the name of a variable; raises `BadValueError`."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        return text
    message = f"{quoted(text)} is no name of a variable: write one, as in REDIS_SERVICE_HOST"
    raise BadValueError(message)


def many(parse: Callable[[str], int]) -> Callable[[str], tuple[int, ...]]:
    """Return a parser of values with commas between them."""
    return lambda text: tuple(parse(part) for part in text.split(","))


GATE: dict[str, GateOption] = {
    "file": _gate(not_empty, "plan file: YAML, JSON or TOML by its suffix, - for YAML on stdin", "FILE", "none", "f"),
    "from_env": GateOption(
        Option(patterns, "wait for what the environment tells of, too; =PATTERN: variables, !PATTERN", True, True),  # noqa: FBT003 - many, commas
        "[=PATTERN]",
        "off",
        bare="*",
    ),
    "needs": GateOption(
        Option(variable_name, "wait for what this variable tells of, set or not; several", True, True),  # noqa: FBT003 - many, commas
        "NAME",
        "none",
    ),
    "timeout": _gate(limit, "the gate's deadline; 0 = none", "D", "5m", "t"),
    "attempt_timeout": _gate(limit, "one attempt, name resolution included; 0 = no limit", "D", "3s"),
    "interval": _gate(pause, "shortest pause between attempts", "D", "paced by outcome"),
    "max_interval": _gate(pause, "longest pause between attempts", "D", "paced by outcome"),
    "successes": _gate(whole(1, MOST), "ready after so many in a row", "N", "1"),
    "stable_for": _gate(duration, "and for so long", "D", "0"),
    "any": _gate(flag, "open as soon as one dependency is ready", default="all"),
    "on_timeout": _gate(
        one_of("fail", "continue"), "at the deadline: stay shut, or open all the same", "fail|continue", "fail"
    ),
    "bypass": _gate(reason, "open at once, probe nothing, and say why", "REASON", "off"),
    "notify": _gate(
        one_of("auto", "ready", "status", "off"), "what $NOTIFY_SOCKET is told", "auto|ready|status|off", "auto"
    ),
    "notify_fd": _gate(whole(3, MOST), "s6 readiness: a newline on this descriptor when the gate opens", "N", "none"),
    "ready_file": _gate(not_empty, "written when the gate opens, removed at the start", "FILE", "none"),
    "export_env": _gate(
        not_empty, "the variables of the services behind the open gate, for COMMAND too; - for it alone", "FILE", "none"
    ),
    "termination_log": _gate(not_empty, "where to say why in 1 KiB; off", "FILE", "/dev/termination-log if there"),
    "report": _gate(not_empty, "the whole report as JSON, written at the end", "FILE", "none"),
    "log_format": _gate(
        one_of("auto", "console", "json"), "console on a terminal, JSON elsewhere", "auto|console|json", "auto"
    ),
    "quiet": _gate(flag, "say nothing but warnings and the end", default="off", short="q"),
    "verbose": _gate(flag, "say every attempt", default="off", short="v"),
    "start_timeout": _gate(limit, "how long COMMAND may take to say READY=1; 0 = no limit", "D", "0"),
    "stop_timeout": _gate(limit, "how long COMMAND may take to end, then SIGKILL; 0 = no limit", "D", "0"),
    "watchdog": _gate(limit, "COMMAND is ended when it is silent (WATCHDOG=1) for so long; 0 = off", "D", "0"),
    "status": _gate(addresses, "where to tell how it stands: unix:/PATH, :PORT, HOST:PORT, off", "ADDRESS", "auto"),
    "keep_watching": _gate(flag, "go on looking at the dependencies behind the open gate", default="off"),
    "pod_info": _gate(not_empty, "downward API volume with the pod's annotations", "DIR", "/etc/podinfo if there"),
    "context": _gate(
        not_empty, "context of the kubeconfig, where a Kubernetes API is asked", "NAME", "the current one"
    ),
    "pod_condition": _gate(
        qualified_name, "condition of the own pod that is True when the gate is open", "TYPE", "none"
    ),
    "event": _gate(
        flag, "an Event on the own pod when it is held for 30s, and when the gate stays shut", default="off"
    ),
    "notify_socket": _gate(not_empty, "serve: where the neighbour speaks", "PATH", USUAL_NOTIFY_SOCKET),
    "notify_uid": _gate(
        many(whole(0, 2**32 - 2)), "serve: users that may speak besides root and our own", "UID", "none"
    ),
    "notify_access": _gate(
        one_of("none", "main", "exec", "all"),
        "who may speak for COMMAND (serve: none or all)",
        "none|main|exec|all",
        "all",
    ),
    "output": _gate(one_of("text", "json"), "for check and plan", "text|json", "text"),
}

# What decides when the gate opens; the others say what a process does about it.
OF_THE_GATE = (
    *("timeout", "attempt_timeout", "interval", "max_interval", "successes", "stable_for"),
    *("any", "on_timeout", "bypass"),
)

# What is looked for in the environment of whoever is given it.
OF_THE_ENVIRONMENT = ("from_env", "needs")

# Where a neighbour speaks, and who it may be; a command that is tended has a socket of its own.
OF_SERVE = ("notify_socket", "notify_uid")

# What is said of a command that is tended.
OF_THE_TENDED = (
    *("start_timeout", "stop_timeout", "watchdog", "status", "keep_watching"),
    *(*OF_SERVE, "notify_access"),
)

# What the API server is told of the pod by whoever holds it.
OF_THE_POD = ("pod_condition", "event")


class InjectOption(NamedTuple):
    """An option of ``inject`` itself: what it does, and what stands for its value, in brackets if it may lack."""

    help: str
    metavar: str = ""

    @property
    def needs_value(self) -> bool:
        """Tell whether it cannot stand alone."""
        return bool(self.metavar) and not self.metavar.startswith("[")


INJECT: dict[str, InjectOption] = {
    "image": InjectOption("gatekeeper's image, by tag or digest; needed", "REF"),
    "native_sidecar": InjectOption(
        "add a native sidecar; CONTAINER is a neighbour that speaks sd_notify", "[=CONTAINER]"
    ),
    "wrap": InjectOption("wait in front of the command of CONTAINER, or of the first", "[=CONTAINER]"),
    "diff": InjectOption("print what would change, as a unified diff"),
    "only_annotated": InjectOption('change pods with the annotation dev.gatekeeper/inject: "true" alone'),
    "last": InjectOption("wait behind the other init containers, not before them"),
    "istio_cni": InjectOption("wait as user 1337, whose traffic istio-cni leaves alone"),
    "linkerd_cni": InjectOption("wait as user 2102, whose traffic linkerd-cni leaves alone"),
}

COMMON: dict[str, Option] = {
    "timeout": Option(limit, "how long this dependency may take in all"),
    "attempt_timeout": Option(limit, "one attempt, name resolution included"),
    "interval": Option(pause, "shortest pause between attempts"),
    "max_interval": Option(pause, "longest pause between attempts"),
    "successes": Option(whole(1, MOST), "ready after so many in a row"),
    "stable_for": Option(duration, "and for so long"),
    "delay": Option(duration, "before the first attempt"),
    "optional": Option(flag, "waited for until its timeout (10s where none is given), then gone without"),
    "invert": Option(flag, "ready when it is definitely gone"),
    "after": Option(not_empty, "not attempted before these are ready", many=True, commas=True),
    "need": Option(whole(1, MOST), "of its alternatives, how many must be ready"),
}


# What counts where a dependency does not say it; of the others, the gate's value counts.
COMMON_DEFAULTS = {"delay": "0", "optional": "no", "invert": "no", "after": "none", "need": "1"}


def variable(key: str) -> str:
    """Return the environment variable that is the twin of an option."""
    return PREFIX + key.upper()


def spelled(key: str) -> str:
    """Return the option as it is written among arguments."""
    return "--" + key.replace("_", "-")
