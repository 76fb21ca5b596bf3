"""Write the bill of materials of a tree: CycloneDX 1.5 as JSON, with Python, its packages, and Debian's libraries."""  # noqa: INP001 - part of a program

import json
import platform
import shutil
import subprocess
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

DOCUMENTATION = Path("/usr/share/doc")


def write(share: Path, packages: Path, files: list[Path]) -> None:
    """Write it and the licences into ``share``: of the distributions in ``packages``, and of what owns the files."""
    found = sorted(distributions(path=[str(packages)]), key=lambda each: each.metadata["Name"].lower())
    ours = next(each for each in found if each.metadata["Name"] == "gatekeeper-agent")
    debian = owners(files)
    components = [python(), *(component(each) for each in found if each is not ours), *map(debian_component, debian)]
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {**component(ours), "type": "application"}},
        "components": components,
    }
    (share / "gatekeeper.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")
    for name, _, _ in debian:
        if (text := DOCUMENTATION / name / "copyright").exists():
            (share / "licences").mkdir(exist_ok=True)
            shutil.copyfile(text, share / "licences" / name)


def python() -> dict[str, Any]:
    """Return the component that Python itself is, built by Debian or not."""
    version = platform.python_version()
    purl = f"pkg:generic/python@{version}"
    return {
        "type": "platform",
        "bom-ref": purl,
        "name": "python",
        "version": version,
        "licenses": [{"license": {"id": "PSF-2.0"}}],
        "purl": purl,
    }


def component(distribution: Distribution) -> dict[str, Any]:
    """Return the component that a Python distribution is."""
    name, version = distribution.metadata["Name"].lower().replace("_", "-"), distribution.version
    purl = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        **licences(distribution),
        "purl": purl,
    }


def licences(distribution: Distribution) -> dict[str, Any]:
    """Return the licence as the distribution says it: an expression, else its classifiers, else a name."""
    metadata = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return {"licenses": [{"expression": expression}]}
    classified = [line for line in metadata.get_all("Classifier") or [] if line.startswith("License :: ")]
    names = [line.rpartition(" :: ")[2] for line in classified] or [metadata.get("License") or ""]
    said = [{"license": {"name": name.splitlines()[0]}} for name in names if name.strip()]
    return {"licenses": said} if said else {}


def owners(files: list[Path]) -> list[tuple[str, str, str]]:
    """Return name, version and architecture of the Debian packages that own the files, sorted."""
    found = {package for path in files for package in [owner(path)] if package}
    form = "${source:Package}\t${Version}\t${Architecture}"
    named = {name: query("--showformat", f"${{binary:Package}}\t{form}", "--show", name) for name in sorted(found)}
    rows = [line.split("\t") for line in named.values()]
    return sorted({(row[0].partition(":")[0], row[2], row[3]) for row in rows})


def owner(path: Path) -> str:
    """Return the package that owns a file, or nothing; packages still know files beside /usr that lie below it."""
    resolved = str(path.resolve())
    for place in (resolved, resolved.removeprefix("/usr")):
        if line := query("--search", place, check=False):
            return line.splitlines()[0].rpartition(": ")[0].split(", ")[0]
    return ""


def debian_component(package: tuple[str, str, str]) -> dict[str, Any]:
    """Return the component that a Debian package is."""
    name, version, architecture = package
    purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={architecture}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def query(*arguments: str, check: bool = True) -> str:
    """Return what dpkg-query prints."""
    done = subprocess.run(["dpkg-query", *arguments], check=check, capture_output=True, text=True)  # noqa: S603, S607
    return done.stdout
