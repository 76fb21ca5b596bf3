"""The zoo of bad plan files: each is named by its fault, and is answered with just these words."""

from pathlib import Path

import pytest

from gatekeeper.declaration import Problem
from gatekeeper.declare.file import read_plan

ZOO = Path(__file__).parent / "zoo"

# What is said of each file, behind its name.
SAID = {
    "alias_bomb.yaml": [
        "line 1, column 11: grows too large when its aliases are replaced: write it out, or split it",
    ],
    "alias_of_itself.yaml": [
        "line 1, column 15: nests more than 32 levels deep: a plan needs 5 (is an alias within its own anchor?)",
    ],
    "alias_undefined.yaml": [
        "line 2, column 7: is no YAML: found undefined alias 'nowhere'",
    ],
    "any_and_target.yaml": [
        "dependencies.db: has both target and any: keep one",
    ],
    "any_bad_alternatives.yaml": [
        "dependencies.db.any[0]: has no kind: write tcp://b:1",
        "dependencies.db.any[1]: has the name name within its line: remove name=",
        "dependencies.db.any[2]: is a list: write a target, or a mapping with target",
        "dependencies.db.any[3]: has no target: write target: under it",
        "dependencies.db.any[4]: has no value: write one, or remove the key",
    ],
    "any_empty.yaml": [
        "dependencies.db.any: is not a list of targets: write any: [tcp://a:1, tcp://b:1]",
    ],
    "any_no_list.yaml": [
        "dependencies.db.any: is not a list of targets: write any: [tcp://a:1, tcp://b:1]",
    ],
    "dependencies_a_list.yaml": [
        "dependencies: is a list where a mapping belongs: write NAME: TARGET under it",
    ],
    "dependencies_a_scalar.toml": [
        "dependencies: is a single value where a mapping belongs: write NAME: TARGET under it",
    ],
    "dependencies_nothing.yaml": [
        "dependencies: is empty where a mapping belongs: write NAME: TARGET under it",
    ],
    "dependency_a_list.json": [
        "dependencies.db: is a list: write a target, or any: with a list under it",
    ],
    "dependency_nothing.yaml": [
        "dependencies.db: has no value: write one, or remove the key",
    ],
    "duplicate_dependency.yaml": [
        "dependencies.db: is given twice: keep one",
    ],
    "duplicate_key.json": [
        "timeout: is given twice: keep one",
        "dependencies.db.status: is given twice: keep one",
    ],
    "duplicate_key.toml": [
        "line 3, column 17: has a key twice: keep one",
    ],
    "duplicate_key.yaml": [
        "timeout: is given twice: keep one",
        "dependencies.db.status: is given twice: keep one",
    ],
    "duplicate_spelling.yaml": [
        "on_timeout: is given twice, with - and with _: keep one",
    ],
    "empty.json": [
        "is empty: write dependencies: and under it NAME: TARGET",
    ],
    "empty.toml": [
        "is empty: write dependencies: and under it NAME: TARGET",
    ],
    "empty.yaml": [
        "is empty: write dependencies: and under it NAME: TARGET",
    ],
    "faults_of_every_sort.yaml": [
        "timeout: has no value: write one, or remove the key",
        "dependencies.'a b': is no name: write at most 63 letters, digits, _ . - and begin with a letter or digit",
        "dependencies.c: has no kind: write tcp://localhost:PORT",
        "dependencies.d: has a quote that is not closed: close it, or put a \\ before a quote of its own",
        "dependencies.e.status: is empty: write a value, or remove the key",
    ],
    "key_a_list.yaml": [
        "line 2, column 3: has a key that is not text: write a name",
    ],
    "latin1.yaml": [
        "is not UTF-8 (line 2): save it as UTF-8",
    ],
    "line_with_name.yaml": [
        "dependencies.db: has the name database within its line: remove database=",
    ],
    "line_with_open_quote.toml": [
        "dependencies.db: has a quote that is not closed: close it, or put a \\ before a quote of its own",
    ],
    "merge_of_text.yaml": [
        "line 3, column 5: merges by << what is no mapping: write <<: *ALIAS with the alias of a mapping",
    ],
    "name_bad.yaml": [
        "dependencies.'-db': is no name: write at most 63 letters, digits, _ . - and begin with a letter or digit",
        "dependencies.'': is no name: write at most 63 letters, digits, _ . - and begin with a letter or digit",
        "dependencies.'d\\tb': is no name: write at most 63 letters, digits, _ . - and begin with a letter or digit",
    ],
    "no_kind.yaml": [
        "dependencies.db: has no kind: write tcp://db:5432",
        "dependencies.app: has no kind: write tcp://localhost:PORT",
        "dependencies.socket: has no kind: write file:///PATH for a file or unix:///PATH for a socket",
        "dependencies.cache: alternative 2: has no kind: write redis://b:6379",
    ],
    "nul.json": [
        "dependencies.db: has a control character (U+0000): remove it",
    ],
    "option_a_tree.yaml": [
        "dependencies.api.status[0]: is a list where a single value belongs",
        "dependencies.api.header.Accept: is a mapping where a single value belongs",
        "dependencies.api.header.Host: is empty: write a value, or remove the key",
        "dependencies.api.ca: is empty: write a value, or remove the key",
    ],
    "option_nothing.json": [
        "dependencies.db.timeout: has no value: write one, or remove the key",
    ],
    "option_without_name.yaml": [
        "dependencies.db.'': is no name of an option: write letters, digits and _",
        "dependencies.db.'two words': is no name of an option: write letters, digits and _",
    ],
    "several_documents.yaml": [
        "line 2, column 1: holds several documents: keep one",
    ],
    "suffix_unknown.ini": [
        "has no suffix of a plan file: name it .yaml, .yml, .json or .toml (- reads YAML from stdin)",
    ],
    "surrogate.json": [
        "dependencies.db: is not UTF-8: write it in UTF-8",
    ],
    "syntax.json": [
        "line 1, column 17: is no JSON: expecting ':' delimiter",
    ],
    "syntax.toml": [
        "line 1, column 12: is no TOML: expected newline or end of document after a statement",
    ],
    "syntax.yaml": [
        "line 2, column 21: is no YAML: mapping values are not allowed here",
    ],
    "tab.yaml": [
        (
            "line 2, column 1: is no YAML: found character '\\t' that cannot start any token "
            "(while scanning for the next token)"
        ),
    ],
    "tag_of_an_object.yaml": [
        "dependencies.db: has the tag !!python/object/apply:os.system: remove it, every value is text here",
    ],
    "tag_of_another.yaml": [
        "timeout: has the tag !!int: remove it, every value is text here",
        "dependencies.db: has the tag !vault: remove it, every value is text here",
    ],
    "target_a_list.yaml": [
        "dependencies.db.target: is a list where one target belongs: write any: for several",
    ],
    "target_missing.json": [
        "dependencies.db: has no target: write target: or any: under it",
    ],
    "toml_date.toml": [
        "timeout: is a date or time: write a duration such as 30s, or put quotes around a text",
    ],
    "top_a_list.yaml": [
        "is a list where a mapping belongs: write dependencies: and under it NAME: TARGET",
    ],
    "top_a_scalar.json": [
        "is a single value where a mapping belongs: write dependencies: and under it NAME: TARGET",
    ],
    "utf16.yaml": [
        "is not UTF-8 (line 1): save it as UTF-8",
    ],
    "variable_unset.yaml": [
        "dependencies.db: ${DB_HOST}: DB_HOST is not set; set it or write ${DB_HOST:-fallback}",
        (
            "dependencies.api.target: $(API_SERVICE_HOST): API_SERVICE_HOST is not set, and the kubelet leaves $(…) "
            "unexpanded where the variable does not exist; set it, or name a Service by DNS"
        ),
        "dependencies.api.header.Authorization: ${TOKEN}: TOKEN is not set; set it or write ${TOKEN:-fallback}",
    ],
}


def test_every_animal_of_the_zoo_is_looked_at() -> None:
    """No bad plan file lies about without its message."""
    assert sorted(path.name for path in ZOO.iterdir()) == sorted(SAID)


@pytest.mark.parametrize("name", SAID)
def test_a_bad_plan_is_answered_with_every_problem_and_its_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad plan file gives exactly these problems, each on one line, and no exception."""
    monkeypatch.chdir(ZOO)
    problems: list[Problem] = []
    read_plan(name, None, problems, {})
    assert [str(problem) for problem in problems] == [f"{name}: {said}" for said in SAID[name]]
    assert all(str(problem).isprintable() for problem in problems)
