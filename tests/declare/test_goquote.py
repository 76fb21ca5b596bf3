"""What Go has quoted comes out as it was, and what it has not quoted is told."""

import os
import random
import subprocess
from pathlib import Path

import pytest

from gatekeeper.declare.goquote import BadQuoteError, unquote


@pytest.mark.parametrize(
    ("quoted", "text"),
    [
        ('""', ""),
        ('"a b=c"', "a b=c"),
        (r'"\a\b\f\n\r\t\v"', "\a\b\f\n\r\t\v"),
        (r'"\\\""', '\\"'),
        (r'"\\n"', "\\n"),
        (r'"\x00\x7f\x1B"', "\0\x7f\x1b"),
        (r'"\xc3\xa9"', "é"),
        (r'"\303\251\101"', "éA"),
        (r'"\u00e9\u00E9\u200b"', "éé\u200b"),
        (r'"\U0001F600\U0010ffff"', "😀\U0010ffff"),
        ('"é😀\'`$"', "é😀'`$"),
        (r'"\xff"', "\udcff"),
        (r'"\x41B\1011"', "ABA1"),
    ],
)
def test_every_escape_of_go(quoted: str, text: str) -> None:
    """Letters, bytes in hexadecimal and octal, characters in four and eight digits, and what stands for itself."""
    assert unquote(quoted) == text


@pytest.mark.parametrize(
    ("quoted", "message"),
    [
        ("", 'has no " before its value'),
        ("a", 'has no " before its value'),
        ("'a'", 'has no " before its value'),
        ("`a`", 'has no " before its value'),
        ('"', 'has no " behind its value: is it half written?'),
        ('"a', 'has no " behind its value: is it half written?'),
        (r'"a\"', 'has no " behind its value: is it half written?'),
        ('"a"b', 'has something behind the " that closes its value'),
        ('"a" ', 'has something behind the " that closes its value'),
        ('"a\nb"', "has an escape that Go does not write, at character 3 of its value"),
        *(
            (f'"{bad}"', "has an escape that Go does not write, at character 2 of its value")
            for bad in (
                r"\'",
                r"\q",
                r"\e",
                r"\x4",
                r"\xg0",
                r"\18",
                r"\8",
                r"\u12",
                r"\U0001F60",
                r"\N",
                r"\/",
                r"\X41",
            )
        ),
        (r'"\400"', "has an octal escape that is no byte, at character 2 of its value"),
        (r'"\ud800"', "has an escape that is no character, at character 2 of its value"),
        (r'"\U00110000"', "has an escape that is no character, at character 2 of its value"),
    ],
)
def test_what_go_does_not_write(quoted: str, message: str) -> None:
    """Each is told by its place, and nothing of the text is shown."""
    with pytest.raises(BadQuoteError) as caught:
        unquote(quoted)
    assert str(caught.value) == message


_GO = r"""package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
)

func main() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		text, _ := hex.DecodeString(lines.Text())
		fmt.Printf("%q\n", string(text))
	}
}
"""


@pytest.mark.needs("go")
@pytest.mark.timeout(300)
def test_what_go_itself_writes(tmp_path: Path) -> None:
    """Every byte, every character at the borders of what is printed, and arbitrary bytes come back as they were."""
    chance = random.Random(1)
    characters = (*range(0x3100), *range(0xD7F0, 0xD800), *range(0xE000, 0x10FFFF, 61), 0xFEFF, 0xFFFD, 0x10FFFF)
    texts = [chr(each).encode() for each in characters] + [bytes((each,)) for each in range(256)]
    texts += [chance.randbytes(chance.randrange(40)) for _ in range(2000)]
    (tmp_path / "main.go").write_text(_GO)
    environ = os.environ | {"GO111MODULE": "off", "CGO_ENABLED": "0"}  # as the other test has it: Go compiles once
    given = "".join(f"{text.hex()}\n" for text in texts)
    run = subprocess.run(
        ["go", "run", tmp_path / "main.go"], input=given.encode(), env=environ, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr
    quoted = run.stdout.decode().split("\n")[:-1]
    assert [unquote(each).encode("utf-8", "surrogateescape") for each in quoted] == texts
