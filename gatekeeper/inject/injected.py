"""The command ``inject``: manifests read, every pod looked at, and the whole given out, or every problem of it."""

import os
from collections.abc import Sequence
from difflib import unified_diff
from typing import NamedTuple

from gatekeeper.declaration import BadDeclarationError, Problem
from gatekeeper.declare.formats import NotReadableError, position
from gatekeeper.declare.reading import read_at_most
from gatekeeper.inject.containers import WrittenByHandError, puts_for
from gatekeeper.inject.insertion import put_in
from gatekeeper.inject.meaning import NotPossibleError, Put
from gatekeeper.inject.templates import BadTemplateError, FragmentError, objects, template_of, text_at, wanted
from gatekeeper.inject.tree import Node, read_documents
from gatekeeper.inject.warned import warnings_of
from gatekeeper.inject.words import Asked, read_words, wants_plan_on_stdin

_STDIN = 0
_LARGEST = 16 * 1024 * 1024
_PATIENCE = 600.0  # seconds for what makes the manifests, a chart most likely


class Injected(NamedTuple):
    """The text for stdout, and what is to be told beside it."""

    text: str
    warnings: tuple[str, ...]


class _Manifest(NamedTuple):
    place: str
    text: str
    documents: Sequence[Node]

    def at(self, index: int) -> str:
        return f"{self.place}: {position(self.text, index)}"


def injected(argv: Sequence[str]) -> Injected:
    """Return the manifests with what was asked for in them; raises `BadDeclarationError`."""
    by_stdin = wants_plan_on_stdin(argv)
    asked = read_words(argv, _read("-") if by_stdin else None)
    problems: list[Problem] = []
    if by_stdin and "-" in asked.files:
        raise BadDeclarationError(
            [Problem("--file", "is stdin, and so are the manifests: name a file for one of them")]
        )
    manifests = [each for path in asked.files if (each := _manifest(path, problems))]
    services = [
        each
        for manifest in manifests
        for each in objects(manifest.documents)
        if text_at(each, "kind") == "Service" and text_at(each, "apiVersion") == "v1"
    ]
    warnings = list(_of_image(asked.image))
    texts = [_changed(manifest, asked, services, problems, warnings) for manifest in manifests]
    if problems:
        raise BadDeclarationError(problems)
    if asked.diff:
        pairs = zip(manifests, texts, strict=True)
        return Injected("".join(_diff(manifest, new) for manifest, new in pairs), tuple(warnings))
    return Injected(_joined(texts), tuple(warnings))


def _manifest(path: str, problems: list[Problem]) -> _Manifest | None:
    place = "stdin" if path == "-" else path
    try:
        text = _read(path).decode()
        return _Manifest(place, text, read_documents(text))
    except UnicodeDecodeError:
        problems.append(Problem(place, "is not UTF-8: save it as UTF-8"))
    except TimeoutError:
        problems.append(Problem(place, f"gave no whole manifest within {_PATIENCE:g} s"))
    except OSError as error:
        problems.append(Problem(place, f"cannot be read: {error.strerror}"))
    except NotReadableError as error:
        hint = "" if "{{" not in text else " (a template of Helm? give it what `helm template` prints)"
        problems.append(Problem(f"{place}: {error.where}" if error.where else place, f"{error}{hint}"))
    except RecursionError:
        problems.append(Problem(place, "nests too deep: no manifest does"))
    return None


def _changed(
    manifest: _Manifest, asked: Asked, services: Sequence[Node], problems: list[Problem], warnings: list[str]
) -> str:
    puts: list[Put] = []
    before, pods = len(problems), 0
    for each in objects(manifest.documents):
        try:
            template = template_of(each)
            if template is None:
                continue
            pods += 1
            if not wanted(template, only_annotated=asked.only_annotated):
                continue
            place = f"{manifest.at(each.start)}: {template.title}"
            puts += puts_for(template, asked)
            warnings += [f"{place} {warning}" for warning in warnings_of(template, asked, services)]
        except FragmentError:
            pods += 1
            what = "has no containers (is it a patch?): it is left as it is"
            warnings.append(f"{manifest.at(each.start)}: {text_at(each, 'kind')} {what}")
        except WrittenByHandError:
            warnings.append(f"{place} has a gatekeeper that was written by hand: it is left as it is")
        except BadTemplateError as error:
            problems.append(Problem(manifest.at(error.index), str(error)))
    if not pods:
        warnings.append(f"{manifest.place} has no pod in it: it is given out as it is")
    try:
        return put_in(manifest.text, manifest.documents, puts) if len(problems) == before else ""
    except NotPossibleError as error:
        problems.append(Problem(manifest.at(error.index), str(error)))
    return ""


def _of_image(image: str) -> Sequence[str]:
    tag = image.rpartition("/")[2].partition(":")[2]
    if "@" in image or tag not in ("", "latest"):
        return ()
    return (f"--image: {image} may be another one tomorrow: name a version, or a digest (@sha256:…)",)


def _diff(manifest: _Manifest, new: str) -> str:
    name = manifest.place.lstrip("/")
    lines = unified_diff(_lines(manifest.text), _lines(new), f"a/{name}", f"b/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Return lines with their ends, where only a line feed ends one: others do not count for patch(1)."""
    parts = text.split("\n")
    return [*(f"{part}\n" for part in parts[:-1]), *parts[-1:]] if parts[-1] else [f"{part}\n" for part in parts[:-1]]


def _joined(texts: Sequence[str]) -> str:
    """Return several files as one, in documents of their own."""
    made = texts[0]
    for text in texts[1:]:
        made += "" if made.endswith("\n") or not made else "\n"
        made += text if text.startswith(("---", "%")) else f"---\n{text}"
    return made


def _read(path: str) -> bytes:
    descriptor = _STDIN if path == "-" else os.open(path, os.O_RDONLY | os.O_NOCTTY)
    try:
        data = read_at_most(_LARGEST + 1, descriptor, _PATIENCE)
    finally:
        if path != "-":
            os.close(descriptor)
    if len(data) > _LARGEST:
        raise OSError(0, "is larger than 16 MiB: split it")
    return data
