"""Prints the script that completes commands and flags in a shell: `seqdigits completion bash|zsh|fish`.

The script is static: write it again after an update.

  bash: seqdigits completion bash > ~/.local/share/bash-completion/completions/seqdigits
  zsh:  seqdigits completion zsh > ~/.zfunc/_seqdigits; ~/.zshrc has `fpath+=~/.zfunc` before `compinit`
  fish: seqdigits completion fish > ~/.config/fish/completions/seqdigits.fish
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from absl import flags

from seqdigits.cli import COMMANDS, module_of
from seqdigits.core.arguments import CommandParser
from seqdigits.core.interrupt import Stop

USAGE = "seqdigits completion bash|zsh|fish"


class Flag(NamedTuple):
    """A flag of a command: its name with `--`, its help, whether a value follows, and the allowed values if they are few."""

    name: str
    about: str
    takes_value: bool
    values: tuple[str, ...]


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument("shell", choices=SCRIPTS)
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits completion`."""
    del stop  # it ends at once
    shell = command_line().parse_command_line().shell
    by_command = {name: known_flags(importlib.import_module(module_of(name)).command_line()) for name in COMMANDS}
    print(SCRIPTS[shell](by_command))


def known_flags(command_line: argparse.ArgumentParser | flags.FlagValues) -> list[Flag]:
    """Returns the flags of a command, sorted by name."""
    if isinstance(command_line, flags.FlagValues):
        defined = {flag.name: flag for flag in map(command_line.__getitem__, command_line)}
        found = [
            Flag(f"--{name}", flag.help, not flag.boolean, tuple(getattr(flag.parser, "enum_values", ())))
            for name, flag in defined.items()
        ]
    else:
        found = [
            Flag(
                action.option_strings[-1],
                (action.help or "") % {"default": action.default},
                action.nargs != 0,
                tuple(action.choices or ()),
            )
            for action in command_line._actions
            if action.option_strings
        ]
    return sorted(found)


def bash(by_command: Mapping[str, Iterable[Flag]]) -> str:
    """Returns the script of bash."""
    cases = []
    for command, known in by_command.items():
        cases += [f'    "{command} {f.name} "*) words="{" ".join(f.values)}" ;;' for f in known if f.values]
        cases.append(f'    "{command} "*" -"*) words="{" ".join(flag.name for flag in known)}" ;;')
    return f"""_seqdigits() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} words=
    # --flag=value arrives as three words
    if [[ $current == = ]]; then current=; elif [[ $before == = ]]; then before=${{COMP_WORDS[COMP_CWORD - 2]}}; fi
    if [[ $COMP_CWORD == 1 ]]; then words="{" ".join(by_command)} --help --version"
    else case "${{COMP_WORDS[1]}} $before $current" in
{chr(10).join(cases)}
    esac; fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o bashdefault -o default -F _seqdigits seqdigits"""


def zsh(by_command: Mapping[str, Iterable[Flag]]) -> str:
    """Returns the script of zsh."""

    def spec(flag: Flag) -> str:
        about = "".join(f"\\{letter}" if letter in "[]:\\" else letter for letter in flag.about)
        value = f"value:({' '.join(flag.values)})" if flag.values else "value:_files"
        return _quoted(f"{flag.name}=[{about}]:{value}" if flag.takes_value else f"{flag.name}[{about}]")

    commands = "\n".join(f"        {_quoted(f'{name}:{COMMANDS[name]}')}" for name in by_command)
    cases = "\n".join(
        f"    {command}) _arguments {' '.join(map(spec, known))} '*:file:_files' ;;"
        for command, known in by_command.items()
    )
    return f"""#compdef seqdigits
_seqdigits() {{
    local -a commands=(
{commands}
    )
    if (( CURRENT == 2 )); then _describe command commands; return; fi
    (( CURRENT-- ))
    shift words
    case $words[1] in
{cases}
    esac
}}
if [[ $funcstack[1] == _seqdigits ]]; then _seqdigits "$@"; else compdef _seqdigits seqdigits; fi"""


def fish(by_command: Mapping[str, Iterable[Flag]]) -> str:
    """Returns the script of fish."""
    lines = [f"complete -c seqdigits -n __fish_use_subcommand -f -a {c} -d {_quoted(COMMANDS[c])}" for c in by_command]
    for command, known in by_command.items():
        for flag in known:
            value = f" -x -a '{' '.join(flag.values)}'" if flag.values else " -r" if flag.takes_value else ""
            lines.append(
                f"complete -c seqdigits -n '__fish_seen_subcommand_from {command}' -l {flag.name[2:]}{value} "
                f"-d {_quoted(flag.about)}"
            )
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """Returns a text in single quotes, in a form that zsh and fish read alike."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
"""The shells, and the functions that return their scripts from the flags of each command."""
