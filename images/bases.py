"""Make stand-ins for the base images that Dockerfile names, out of this Debian 12 host, where no registry is at hand.

    python3 images/bases.py build | podman import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' - IMAGE

writes the root file system of one of them to stdout as a tar archive: `build` (Python, pip, a shell, a compiler),
`last` (Python and a CA bundle: the Debian packages that the distroless image is made of), `busybox` (a shell and no C
library) or `musl` (the same and another C library). It needs only dpkg and the packages.
"""  # noqa: INP001 - a program, not a module

import io
import os
import platform
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

LAST = """
    base-files ca-certificates libbz2-1.0 libc6 libcom-err2 libcrypt1 libdb5.3 libexpat1 libffi8 libgssapi-krb5-2
    libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 liblzma5 libncursesw6 libnsl2 libpython3.11-minimal
    libpython3.11-stdlib libreadline8 libsqlite3-0 libssl3 libtinfo6 libtirpc3 libuuid1 media-types netbase
    python3.11-minimal tzdata zlib1g
""".split()  # noqa: SIM905 - thirty names, a few lines
BUILD = """
    binutils binutils-common coreutils cpp-12 dash dpkg gcc gcc-12 libacl1 libattr1 libbinutils libc-bin libc6-dev
    libctf-nobfd0 libctf0 libgcc-12-dev libgcc-s1 libgmp10 libgprofng0 libisl23 libjansson4 libmd0 libmpc3 libmpfr6
    libpcre2-8-0 libselinux1 libstdc++6 libzstd1 linux-libc-dev python3-pip
""".split()  # noqa: SIM905 - likewise
# The one package whose name holds the machine's.
BINUTILS = f"binutils-{platform.machine().replace('_', '-')}-linux-gnu"
PACKAGES = {
    "build": [*LAST, *BUILD, BINUTILS],
    "last": LAST,
    "busybox": ["busybox-static"],
    "musl": ["busybox-static", "musl"],
}

MERGED = ("bin", "lib", "lib64", "sbin")
EXTERNALLY_MANAGED = "/usr/lib/python3.11/EXTERNALLY-MANAGED"
# What packages do not carry because their scripts make it.
MADE = {
    "/etc/group": "root:x:0:\nnonroot:x:65532:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "/etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
}
PYTHON = {"/usr/bin/python3": "python3.11", "/usr/bin/python": "python3.11"}
APPLETS = {f"/usr/bin/{name}": "busybox" for name in ("cat", "env", "ls", "sh", "sleep")}
LINKS = {"build": PYTHON, "last": PYTHON, "busybox": APPLETS, "musl": APPLETS}
DATABASE = "/var/lib/dpkg/"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def main() -> None:
    """Write the root file system that the argument names."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for name in MERGED:
            add_link(archive, "/" + name, "usr/" + name)
        name = sys.argv[1]
        for path in files_of(PACKAGES[name], LINKS[name]):
            archive.add(path, merged(path), recursive=False)
        if name in ("build", "last"):
            archive.add(CA_BUNDLE, CA_BUNDLE)
        if name == "build":  # its dpkg tells what belongs to which package
            archive.add(DATABASE + "status")
            for path in [Path(DATABASE, "info/format"), *sorted(Path(DATABASE, "info").glob("*.list"))]:
                archive.add(path)
        for path, target in LINKS[name].items():
            add_link(archive, path, target)
        for path, text in MADE.items():
            add_file(archive, path, text)


def files_of(packages: list[str], links: dict[str, str]) -> Iterator[str]:
    """Yield what the packages own and is there, each folder before what it holds; of documentation the licences."""
    listed = subprocess.run(["dpkg", "-L", *packages], check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603, S607 - fixed names
    for path in sorted({merged(line) for line in listed.splitlines() if line.startswith("/")}):
        if path.startswith(("/usr/share/doc/", "/usr/share/man/", "/usr/share/lintian/")) and not path.endswith(
            "/copyright"
        ):
            continue
        if path not in MADE and path not in links and path != EXTERNALLY_MANAGED and os.path.lexists(path):
            yield path


def merged(path: str) -> str:
    """Return the path below /usr of what Debian's packages still put beside it."""
    top = path.split("/")[1]
    return "/usr" + path if top in MERGED and path != "/" + top else path


def add_link(archive: tarfile.TarFile, path: str, target: str) -> None:
    """Add a symbolic link."""
    link = tarfile.TarInfo(path)
    link.type, link.linkname = tarfile.SYMTYPE, target
    archive.addfile(link)


def add_file(archive: tarfile.TarFile, path: str, text: str) -> None:
    """Add a file that is readable by all."""
    info = tarfile.TarInfo(path)
    info.size = len(text)
    archive.addfile(info, io.BytesIO(text.encode()))


if __name__ == "__main__":
    main()
