"""Complete command lines in bash, zsh and fish: a script for each, and what it asks of us.

click knows the commands and options. What is ours is the way there and back: a script hands over
the line up to the cursor as it was typed (click's own splits it at every colon, which addresses
have), and reads a line for each offer: its kind, its value and a word about it, between tabs.
Kinds are `plain`, `part` (no blank behind it: more follows), `file` and `dir`.

TAB must be quick and never print a word that nobody asked for: whatever goes wrong, there is
just nothing to offer.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from click.shell_completion import ShellComplete, split_arg_string

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

__all__ = ["SHELLS", "VARIABLE", "answer", "script"]

# click's name for it; the value is `bash_complete` or `bash_source`.
VARIABLE = "_IMGMIGRATE_COMPLETE"
# The line up to the cursor, and where bash breaks words.
_LINE, _BREAKS = "_IMGMIGRATE_LINE", "_IMGMIGRATE_BREAKS"
# Not in any line, as no variable of the environment can hold it.
_CURSOR = "\0"

_BASH = """\
_imgmigrate_completion() {
    local kind value
    COMPREPLY=()
    while IFS=$'\\t' read -r kind value; do
        case $kind in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            part) compopt -o nospace; COMPREPLY+=("$value") ;;
            *) COMPREPLY+=("$value") ;;
        esac
    done < <(_IMGMIGRATE_LINE="${COMP_LINE:0:COMP_POINT}" _IMGMIGRATE_BREAKS="$COMP_WORDBREAKS" \\
        _IMGMIGRATE_COMPLETE=bash_complete "$1" 2>/dev/null </dev/null)
} 2>/dev/null
complete -o nosort -F _imgmigrate_completion imgmigrate 2>/dev/null ||
    complete -F _imgmigrate_completion imgmigrate
"""

_ZSH = """\
#compdef imgmigrate
_imgmigrate_completion() {
    local kind value about files
    local -a plain described part
    while IFS=$'\\t' read -r kind value about; do
        case $kind in
            file) files=-f ;;
            dir) files=-/ ;;
            part) part+=("$value") ;;
            *)
                if [[ -n $about ]]; then
                    described+=("${value//:/\\\\:}:$about")
                else
                    plain+=("$value")
                fi ;;
        esac
    done < <(_IMGMIGRATE_LINE="${(j: :)words[1,CURRENT]}" _IMGMIGRATE_COMPLETE=zsh_complete \\
        "${words[1]}" 2>/dev/null </dev/null)
    [[ ${words[CURRENT]} == --*=* ]] && compset -P '*='
    (( $#described )) && _describe -V imgmigrate described
    (( $#plain )) && compadd -V plain -a plain
    (( $#part )) && compadd -V part -S '' -a part
    [[ -n $files ]] && _path_files $files
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _imgmigrate_completion "$@"
else
    compdef _imgmigrate_completion imgmigrate
fi
"""

_FISH = """\
function __imgmigrate_completion
    set -l line (commandline -cp)
    for row in (env _IMGMIGRATE_COMPLETE=fish_complete _IMGMIGRATE_LINE="$line" \\
            imgmigrate 2>/dev/null </dev/null)
        set -l parts (string split \\t -- $row)
        switch $parts[1]
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct)
            case '*'
                printf '%s\\t%s\\n' $parts[2] "$parts[3]"
        end
    end
end
complete --command imgmigrate --no-files --arguments '(__imgmigrate_completion)'
"""


class _Shell(ShellComplete):
    """What the three have in common; a shell says what it takes for the word at the cursor."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, without the command itself, and the one at it."""
        *words, last = split_arg_string(os.environ.get(_LINE, "") + _CURSOR)
        return words[1:], last.removesuffix(_CURSOR)

    def complete(self) -> str:
        """Print an offer a line."""
        args, incomplete = self.get_completion_args()
        items = self.get_completions(args, incomplete)
        # Of `--option=value` only the value is offered.
        option, equals, value = incomplete.partition("=")
        is_joined = bool(equals) and option.startswith("-")
        typed, before = (value, f"{option}=") if is_joined else (incomplete, "")
        return "".join(self.offer(item, typed, before) for item in items)

    def offer(self, item: CompletionItem[str], typed: str, before: str) -> str:
        """Print an offer, for what is `typed` of a value, and its option `before` it."""
        return f"{item.type}\t{item.value}\t{' '.join((item.help or '').split())}\n"


class _Bash(_Shell):
    name, source_template = "bash", _BASH

    def offer(self, item: CompletionItem[str], typed: str, before: str) -> str:
        """Leave out what bash, which breaks words at colons, takes for words before this one."""
        breaks, line = os.environ.get(_BREAKS, ""), os.environ.get(_LINE, "")
        is_quoted = line.removesuffix(typed)[-1:] in ("'", '"')
        value = item.value if "=" in breaks else before + item.value
        whole = typed if "=" in breaks else before + typed
        cut = 0 if is_quoted else max((whole.rfind(each) for each in breaks), default=-1) + 1
        return f"{item.type}\t{value[cut:]}\n"


class _Zsh(_Shell):
    name, source_template = "zsh", _ZSH


class _Fish(_Shell):
    name, source_template = "fish", _FISH

    def offer(self, item: CompletionItem[str], typed: str, before: str) -> str:
        """Give the whole word: fish takes `--option=value` for one."""
        offer = super().offer(item, typed, before)
        return offer.replace("\t", f"\t{before}", 1)


_CLASSES: dict[str, type[_Shell]] = {each.name: each for each in (_Bash, _Zsh, _Fish)}
SHELLS = tuple(_CLASSES)


def script(shell: str) -> str:
    """The script that a shell reads to complete our commands."""
    return _CLASSES[shell].source_template


def answer(commands: click.Command, settings: object) -> str:
    """Answer what a script asks by the environment; nothing where nothing is to be offered."""
    shell, _, question = os.environ[VARIABLE].partition("_")
    try:
        if question == "source":
            return script(shell)
        if question == "complete":
            return _CLASSES[shell](commands, {"obj": settings}, "imgmigrate", VARIABLE).complete()
    except Exception:  # noqa: BLE001 - the boundary of a key press
        return ""
    return ""
