"""What ``--help`` shows: of all commands, or of one with its options."""

from gatekeeper.options import COMMANDS, GATE, INJECT, OF_SERVE, OF_THE_POD, OF_THE_TENDED, spelled
from gatekeeper.screen import table

_USAGE = {
    "wait": (
        "[OPTION]... [DEPENDENCY]... [-- COMMAND [ARG]...]",
        "hold until the gate opens, then exit 0 or become COMMAND",
    ),
    "check": ("[OPTION]... [DEPENDENCY]...", "make one attempt at each dependency; exit 0 or 1"),
    "plan": (
        "[--rbac] [OPTION]... [DEPENDENCY]...",
        "print what would be probed and where it came from, or the Roles that it needs; probe nothing",
    ),
    "run": (
        "[OPTION]... [DEPENDENCY]... -- COMMAND [ARG]...",
        "hold, then start COMMAND as a child and tend it: signals, zombies, sd_notify",
    ),
    "serve": (
        "[OPTION]... [DEPENDENCY]...",
        "the same without a child: a native sidecar that holds the pod's start, then hears its neighbour",
    ),
    "status": (
        "[--started|--ready|--live] [--status ADDRESS] [--verbose]",
        "ask a running `run` how it stands, for exec probes; exit 0 or 1",
    ),
    "notify": (
        r"[OPTION]... [KEY=VALUE]... [\; COMMAND [ARG]...]",
        "say it to $NOTIFY_SOCKET, as systemd-notify does; exit 0 or 1",
    ),
    "hook": (
        "[--trust-annotations] [OPTION]... [DEPENDENCY]...",
        "hold a container's start, called by its OCI runtime: state on stdin, declarations in its annotations",
    ),
    "inject": (
        "--image REF [OPTION]... [FILE]... [DEPENDENCY]...",
        "add the init container to Kubernetes manifests (stdin where no FILE is named), comments and order kept",
    ),
    "kinds": ("[KIND]", "list the probe kinds, or one with its options"),
    "demo": ("", "show the main job in ten seconds, on dependencies it starts itself"),
    "install": ("DIR", "put the image's gatekeeper and its Python into DIR, for a container that has none"),
}


def help_page(command: str | None = None) -> str:
    """Return the help of a command, or of them all."""
    if command == "notify":
        usage, text = _USAGE[command]
        return f"gatekeeper notify {usage}\n{text}\n\n{table(_NOTIFY)}"
    if command == "inject":
        usage, text = _USAGE[command]
        rows = [[f"  {spelled(key)}{_value(row.metavar)}", row.help] for key, row in INJECT.items()]
        return f"gatekeeper inject {usage}\n{text}\n\n{_DEPENDENCY}{_INJECTED}\n{table(rows)}"
    if command in ("kinds", "demo", "status", "install"):
        usage, text = _USAGE[command]
        return f"{f'gatekeeper {command} {usage}'.rstrip()}\n{text}\n"
    if command not in ("wait", "check", "plan", "run", "serve", "hook"):
        rows = [[f"  gatekeeper {name} {_USAGE[name][0]}".rstrip(), _USAGE[name][1]] for name in COMMANDS]
        body = "".join(f"{usage}\n      {text}\n" for usage, text in rows)
        version = "  gatekeeper --version\n      print the version\n"
        return f"Holds a program's start until what it needs is really there.\n\n{body}{version}\n{_DEPENDENCY}"
    left_out = {*{"run": OF_SERVE, "serve": ("stop_timeout",), "plan": ()}.get(command, OF_THE_TENDED)}
    left_out |= {*(OF_THE_POD if command in ("check", "hook") else ())}
    defaults = {key: row.default for key, row in GATE.items()} | ({"timeout": "as above"} if command == "hook" else {})
    rows = [
        ["  " + _option(key), f"{row.option.help} [{defaults[key]}]"]
        for key, row in GATE.items()
        if key not in left_out and (key, command) != ("pod_info", "hook")
    ]
    usage, text = _USAGE[command]
    more = _ANNOTATIONS if command == "hook" else ""
    return f"gatekeeper {command} {usage}\n{text}\n\n{_DEPENDENCY}{more}\n{table(rows)}"


_DEPENDENCY = (
    "DEPENDENCY is [NAME=]TARGET [OPTION=VALUE | FLAG]... in one argument, as 'db=tcp://postgres:5432 timeout=2m'.\n"
    "`gatekeeper kinds` lists the targets. Each option has an environment twin: --timeout is GATEKEEPER_TIMEOUT.\n"
)

_ANNOTATIONS = (
    "Annotations of the container: dev.gatekeeper/dependencies holds one a line, dev.gatekeeper/OPTION is an option.\n"
    "Without any of them the container starts at once. The deadline is a second before the hook's own timeout at the\n"
    "latest, which the container's config.json says; it is 100s where none is known and none is declared.\n"
    "--trust-annotations lets them name commands and files where the hook runs outside of the container.\n"
)

_INJECTED = (
    "Nothing is read from the environment. --file names a plan file; what it declares is written into the manifests,\n"
    "and so are options of the gate such as --timeout. A FILE has no KIND:// in its name.\n"
)

_NOTIFY = [
    ["  --ready", "the start, or a reload, is finished"],
    ["  --reloading", "a reload begins"],
    ["  --stopping", "the end begins"],
    ["  --status TEXT", "one line for people"],
    ["  --pid[=PID]", "the main process: auto (the caller), self, parent or a process id"],
    ["  --fd N", "hand over this descriptor to be kept (several)"],
    ["  --fdname NAME", "under this name"],
    ["  --no-block", "do not wait until it has been read, 5s at most"],
    ["  --exec", r"become the COMMAND that follows \; or --, which is so without it too"],
]


def _option(key: str) -> str:
    row = GATE[key]
    short = f"-{row.short}, " if row.short else "    "
    return f"{short}{spelled(key)}{'' if row.bare else ' '}{row.metavar}".rstrip()


def _value(metavar: str) -> str:
    return metavar if metavar.startswith("[") or not metavar else f" {metavar}"
