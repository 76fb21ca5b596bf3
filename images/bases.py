"""Make stand-ins for the base images that Dockerfile names, out of this Debian 12 host, where no registry is at hand.

    python3 images/bases.py build | podman import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' - IMAGE

writes the root file system of one of them to stdout as a tar archive: `build` (Python, pip, a shell) or `last` (Python
and a CA bundle: the Debian packages that the distroless image is made of). It needs only dpkg and the packages.
"""  # noqa: INP001 - a program, not a module

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator

LAST = """
    base-files ca-certificates libbz2-1.0 libc6 libcom-err2 libcrypt1 libdb5.3 libexpat1 libffi8 libgssapi-krb5-2
    libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 liblzma5 libncursesw6 libnsl2 libpython3.11-minimal
    libpython3.11-stdlib libreadline8 libsqlite3-0 libssl3 libtinfo6 libtirpc3 libuuid1 media-types netbase
    python3.11-minimal tzdata zlib1g
""".split()  # noqa: SIM905 - thirty names, a few lines
BUILD = [*LAST, "coreutils", "dash", "libacl1", "libattr1", "libgmp10", "libpcre2-8-0", "libselinux1", "python3-pip"]
PACKAGES = {"build": BUILD, "last": LAST}

MERGED = ("bin", "lib", "lib64", "sbin")
EXTERNALLY_MANAGED = "/usr/lib/python3.11/EXTERNALLY-MANAGED"
# What packages do not carry because their scripts make it.
MADE = {
    "/etc/group": "root:x:0:\nnonroot:x:65532:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "/etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
}
LINKS = {"/usr/bin/python3": "python3.11", "/usr/bin/python": "python3.11"}
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def main() -> None:
    """Write the root file system that the argument names."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for name in MERGED:
            add_link(archive, "/" + name, "usr/" + name)
        for path in [*files_of(PACKAGES[sys.argv[1]]), CA_BUNDLE]:
            archive.add(path, merged(path), recursive=False)
        for path, target in LINKS.items():
            add_link(archive, path, target)
        for path, text in MADE.items():
            add_file(archive, path, text)


def files_of(packages: list[str]) -> Iterator[str]:
    """Yield what the packages own and is there, each folder before what it holds, without documentation."""
    listed = subprocess.run(["dpkg", "-L", *packages], check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603, S607 - fixed names
    for path in sorted({merged(line) for line in listed.splitlines() if line.startswith("/")}):
        if path.startswith(("/usr/share/doc/", "/usr/share/man/", "/usr/share/lintian/")):
            continue
        if path not in MADE and path not in LINKS and path != EXTERNALLY_MANAGED and os.path.lexists(path):
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
