"""The scripts of shell completion, run by the shells that are installed."""

import shutil
import subprocess
import sys

import pytest

from seqdigits.cli import completion
from seqdigits.cli.completion import Flag
from seqdigits.core.interrupt import Stop

LINES = {
    "pre": ["predict", "prepare", "pretrained"],
    "predict --f": ["--format"],
    "predict --format ": ["csv", "json", "text"],
    "predict --format j": ["json"],
    "upper-bound --sp": ["--split"],
    "upper-bound --split v": ["validation"],
    "reproduce --weights --bud": ["--budget-minutes"],
    "report --weights": [],
}
"""Command lines after `seqdigits`, and what may follow."""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """`script("bash")`: the file that `seqdigits completion bash` writes."""

    def write(shell):
        folder = tmp_path_factory.mktemp("completion")
        with pytest.MonkeyPatch.context() as patch, (folder / "script").open("w") as file:
            patch.setattr(sys, "argv", ["seqdigits completion", shell])
            patch.setattr(sys, "stdout", file)
            completion.main(Stop())
        return folder / "script"

    return write


def ask(shell, *arguments):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def bash_words(file, *words):
    code = f'source {file}; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _seqdigits; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return sorted(filter(None, ask("bash", "--norc", "-c", code, "bash", "seqdigits", *words)))


def test_bash_completes_commands_flags_and_values(script):
    file = script("bash")
    for line, expected in LINES.items():
        assert bash_words(file, *line.split(" ")) == expected, line
    assert bash_words(file, "predict", "--format", "=") == ["csv", "json", "text"]  # bash splits --format=
    assert bash_words(file, "predict", "--format", "=", "t") == ["text"]
    assert {"predict", "--help", "--version"} <= set(bash_words(file, ""))
    assert bash_words(file, "predict", "") == []  # the shell completes files then
    (registered,) = ask("bash", "--norc", "-c", f"source {file}; complete -p seqdigits")
    assert registered == "complete -o bashdefault -o default -F _seqdigits seqdigits"


def test_zsh_reads_the_script(script):
    assert ask("zsh", "-n", str(script("zsh"))) == []


def test_fish_completes_commands_flags_and_values(script):
    file = script("fish")
    for line, expected in LINES.items():
        found = ask("fish", "--no-config", "-c", f"source {file}; complete -C 'seqdigits {line}'")
        assert sorted(text.partition("\t")[0] for text in found) == expected, line


def test_quotes_and_brackets_in_help_are_quoted():
    known = {"predict": [Flag("--a", "it's [one]: 1", True, ()), Flag("--b", "on", False, ())]}
    assert """'--a=[it'"'"'s \\[one\\]\\: 1]:value:_files' '--b[on]'""" in completion.zsh(known)
    assert """-l a -r -d 'it'"'"'s [one]: 1'""" in completion.fish(known)
    assert """words="--a --b" ;;""" in completion.bash(known)
