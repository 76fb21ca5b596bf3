"""Make the self-contained agent: a Python with all it needs and gatekeeper in it, in a tree that works anywhere.

    python3 images/tree.py PACKAGES TREE

PACKAGES is the folder that pip installed gatekeeper into, TREE is made:

    bin/gatekeeper         linked statically, starts the following (launcher.c); bin/python3 is the same by its name
    lib/ld.so, lib/*.so*   the loader and the shared libraries
    lib/python3.N/         Python's library, compiled, without what left-out.txt names; site-packages
    libexec/python3        Python
    share/                 the bill of materials, what was left out, the licences

It runs in the build stage, with the Python that is taken. It names no architecture and no place: it asks that Python,
the loader and the compiler. Two runs on the same files make the same tree.
"""  # noqa: INP001 - a program, not a module

import compileall
import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import sbom

HERE = Path(__file__).parent
LIBRARY = Path(sysconfig.get_path("stdlib"))
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
ELF = b"\x7fELF"
OTHERS = ("dist-packages", "site-packages", "__pycache__")
# Of a package: what a type checker, a C compiler or pip reads.
UNREAD = {".pyi", ".typed", ".c", ".h", ".pyx", ".pxd"}
RECORDS = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def main() -> None:
    """Make the tree."""
    packages, tree = (Path(argument) for argument in sys.argv[1:3])
    left_out = read_left_out()
    place = tree / "lib" / VERSION
    taken = [*copy_library(place, left_out), *copy_packages(packages, place / "site-packages", left_out)]
    python = Path(sys.executable).resolve()
    copy(python, tree / "libexec" / "python3")
    libraries = copy_shared([python, *(source for source in taken if is_elf(source))], tree / "lib")
    (tree / "lib" / "python3").symlink_to(VERSION)
    compile_all(place)
    make_launcher(tree / "bin")
    strip(tree)
    share = tree / "share"
    share.mkdir()
    (share / "left-out.txt").write_text("".join(f"{name}\n" for name in left_out))
    sbom.write(share, place / "site-packages", [python, *libraries, *(path for path in taken if is_elf(path))])
    (share / "tree.sha256").write_text(sum_of(tree))


def read_left_out() -> list[str]:
    """Return the names of what is left out."""
    lines = (HERE / "left-out.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def copy_library(place: Path, left_out: list[str]) -> list[Path]:
    """Copy the modules of Python's library and its extensions; return what was copied."""
    taken = []
    for path in sorted(LIBRARY.rglob("*")):
        parts = path.relative_to(LIBRARY).parts
        if path.suffix not in (".py", ".so") or set(parts) & set(OTHERS) or parts[0].startswith("config-"):
            continue
        inside = parts[1:] if parts[0] == "lib-dynload" else parts
        if not is_left_out(inside, left_out):
            copy(path, place.joinpath(*parts))
            taken.append(path)
    copy(HERE / "sitecustomize.py", place / "sitecustomize.py")
    (place / "lib-dynload").mkdir(exist_ok=True)  # Python looks for the folder, also where all extensions are built in
    return taken


def copy_packages(packages: Path, place: Path, left_out: list[str]) -> list[Path]:
    """Copy gatekeeper and what it needs; return what was copied."""
    taken = []
    for path in sorted(packages.rglob("*")):
        parts = path.relative_to(packages).parts
        if path.is_dir() or parts[0] == "bin" or "__pycache__" in parts or is_left_out(parts, left_out):
            continue
        if path.suffix not in UNREAD and not (parts[0].endswith(".dist-info") and path.name in RECORDS):
            copy(path, place.joinpath(*parts))
            taken.append(path)
    return taken


def is_left_out(parts: tuple[str, ...], left_out: list[str]) -> bool:
    """Tell whether a file belongs to a module that is left out, by itself or with its package."""
    names = [*parts[:-1], parts[-1].partition(".")[0]]
    if names[0].startswith("_sysconfigdata"):
        return True
    return any(".".join(names[: length + 1]) in left_out for length in range(len(names)))


def copy_shared(programs: list[Path], place: Path) -> list[Path]:
    """Copy the loader and every shared library that the programs need; return where they came from."""
    loader = interpreter(programs[0])
    found = {loader.name: loader}
    for program in programs:
        for line in output(loader, "--list", program).splitlines():
            name, arrow, path = line.strip().partition(" => ")
            if arrow:
                found[name] = Path(path.rpartition(" (")[0])
    # glibc loads it by itself when a thread ends, and ends the process where it is not there.
    found["libgcc_s.so.1"] = found["libc.so.6"].parent / "libgcc_s.so.1"
    for name, path in found.items():
        copy(path.resolve(strict=True), place / name)
        (place / name).chmod(0o755)
    (place / "ld.so").symlink_to(loader.name)
    return sorted(found.values())


def interpreter(program: Path) -> Path:
    """Return the loader that a program names."""
    for line in output("readelf", "--program-headers", "--wide", program).splitlines():
        if "program interpreter:" in line:
            return Path(line.partition("interpreter: ")[2].rstrip("]"))
    message = f"{program} names no loader: a Python that is linked statically cannot be taken"
    raise SystemExit(message)


def compile_all(place: Path) -> None:
    """Leave of each module only what it is compiled to: nobody compiles it anew, and nobody may write there."""
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    done = compileall.compile_dir(
        place, quiet=1, legacy=True, force=True, stripdir=place, prependdir=VERSION, invalidation_mode=unchecked
    )
    if not done:
        raise SystemExit("not everything could be compiled")  # noqa: TRY003, EM101 - said once, the reasons stand above
    for path in sorted(place.rglob("*.py")):
        path.unlink()


def make_launcher(place: Path) -> None:
    """Compile what starts the tree's Python."""
    place.mkdir()
    flags = ["-static", "-Os", "-Wall", "-Werror", "-s"]
    output("gcc", *flags, "-o", place / "gatekeeper", HERE / "launcher.c")
    (place / "python3").symlink_to("gatekeeper")


def strip(tree: Path) -> None:
    """Take from every program and library what only a debugger reads."""
    for path in sorted(tree.rglob("*")):
        if not path.is_symlink() and path.is_file() and is_elf(path):
            output("strip", "--strip-unneeded", path)


def sum_of(tree: Path) -> str:
    """Return one sum over the names and the contents of all files: which tree it is."""
    total = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(tree)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest() + "\n"


def is_elf(path: Path) -> bool:
    """Tell whether a file is a program or a library of this machine's format."""
    with path.open("rb") as file:
        return file.read(len(ELF)) == ELF


def copy(source: Path, target: Path) -> None:
    """Copy a file, readable by all and writable by its owner, with its folders."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def output(*command: str | Path) -> str:
    """Return what a program prints; leave with what it says where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed programs
    if done.returncode:
        message = f"{' '.join(map(str, command))}: {done.stderr}"
        raise SystemExit(message)
    return done.stdout


if __name__ == "__main__":
    main()
