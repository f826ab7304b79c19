"""What an error says is for people: nothing that the program decides is read from its words.

Its facts are fields. So no text of an error is searched, cut or compared anywhere in the package;
to print one, beside others or a line at a time, is no reading. A subject is a name, and may be
compared as a whole.

The check knows names, not types. It calls a text what has the name of one (`.message`, `.cause`,
`.hint`, `.subject`, `.detail`, `.args`), `str` and the like of what was caught or is annotated as
an error, what was made of a text, and the parameters and results of functions that are handed or
return one.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imgmigrate import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "imgmigrate"
# Where texts of errors are read all the same, and why.
ALLOWED = {
    "observing/problems.py": "says the same failure once in a row",
    "config/reading/variables.py": "masks what variables hold, wherever it may stand",
    "redaction.py": "masks secrets, and makes every text printable",
    "render/options.py": "says parameters as options, in every text that is printed",
    "render/style.py": "breaks texts into lines",
    "render/errors.py": "a plan and a journal keep the text of an error, which may name its row",
    "state/shared/clouds.py": "reads what obstore says of stores, and makes facts of it",
    "stores/registry/http/failures.py": "reads what servers and aiohttp say, and makes facts of it",
    "stores/registry/wire/redirects.py": "hides no part of a URL that names what is asked for",
}

_TEXTS = {"message", "cause", "hint", "subject", "detail", "args"}
_ERRORS = {"error", "__cause__", "__context__", "_failure"}
_ERROR_NAMES = {
    name
    for name, each in vars(errors).items()
    if inspect.isclass(each) and issubclass(each, Exception)
}
_MAKE_TEXT = {"str", "repr", "format"}
_SAME_TEXT = {"join", "encode", "decode", "format"}
_CUTS = {
    *("partition", "rpartition", "startswith", "endswith", "removeprefix", "removesuffix"),
    *("split", "rsplit", "splitlines", "find", "rfind", "index", "rindex", "count", "replace"),
    *("lower", "upper", "casefold", "title", "strip", "lstrip", "rstrip", "translate"),
}
# Of a pattern, of `re` and of a table: what is handed a text.
_LOOKS = {"search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer", "get"}

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_BINDINGS = (ast.Assign, ast.NamedExpr, ast.AnnAssign, ast.For, ast.comprehension)
_KINDS = (
    *(*_BINDINGS, ast.FunctionDef, ast.AsyncFunctionDef, ast.ExceptHandler, ast.Return),
    *(ast.Attribute, ast.Call, ast.Compare, ast.Match, ast.Subscript),
)


@dataclass
class Facts:
    """What is known of functions by name, where only one has it; it grows until nothing is new."""

    functions: dict[str, _Function] = field(default_factory=dict)
    # Those that return a text, those that do if they are handed one, and parameters that are one.
    returning: set[str] = field(default_factory=set)
    passing: set[str] = field(default_factory=set)
    handed: dict[str, set[str]] = field(default_factory=dict)

    def add(self, scopes: Iterable[Scope]) -> None:
        """Find the functions that only one name means."""
        named: dict[str, list[_Function]] = {}
        for each in (function for scope in scopes for function in scope.functions):
            named.setdefault(each.name, []).append(each)
        self.functions |= {name: each[0] for name, each in named.items() if len(each) == 1}

    @property
    def size(self) -> int:
        """How much is known."""
        return sum(map(len, (self.returning, self.passing, *self.handed.values())))


class Scope:
    """One function with those inside it, or what stands outside of all."""

    def __init__(self, root: _Function | ast.Module, facts: Facts) -> None:
        self.root, self.facts = root, facts
        self.nodes = [each for each in _inside(root) if isinstance(each, _KINDS)]
        self.bindings = [each for each in self.nodes if isinstance(each, _BINDINGS)]
        self.functions = [each for each in (root, *self.nodes) if isinstance(each, _Function)]
        self.calls = {
            each.func.id if isinstance(each.func, ast.Name) else each.func.attr
            for each in self.nodes
            if isinstance(each, ast.Call) and isinstance(each.func, ast.Name | ast.Attribute)
        }
        self.texts: set[str] = set()
        self.errors = {
            each.arg
            for function in self.functions
            for each in _parameters(function)
            if each.annotation is not None and _names_error(each.annotation)
        }
        self.errors |= {
            each.name for each in self.nodes if isinstance(each, ast.ExceptHandler) and each.name
        }
        attributes = {each.attr for each in self.nodes if isinstance(each, ast.Attribute)}
        self.has_texts = bool(self.errors or attributes & (_TEXTS | _ERRORS))

    @property
    def is_clean(self) -> bool:
        """Whether no text can have come here, as far as is known."""
        is_handed = any(each.name in self.facts.handed for each in self.functions)
        return not (self.has_texts or is_handed or self.calls & self.facts.returning)

    def bind(self, *, is_handed: bool = True) -> None:
        """Follow texts and errors from name to name."""
        self.texts = set()
        for function in self.functions if is_handed else ():
            self.texts |= self.facts.handed.get(function.name, set())
        for node in self.bindings * 2:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._bind(target, node.value)
            elif isinstance(node, ast.For | ast.comprehension):
                self._bind(node.target, node.iter)
            elif node.value is not None:
                self._bind(node.target, node.value)

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for each, part in zip(target.elts, value.elts, strict=False):
                self._bind(each, part)
        elif isinstance(target, ast.Name | ast.Tuple):
            names = {each.id for each in ast.walk(target) if isinstance(each, ast.Name)}
            self.texts |= names if self.is_text(value) else set()
            self.errors |= names if self.is_error(value) else set()

    def is_error(self, node: ast.expr) -> bool:
        """Tell an expression that is an error."""
        match node:
            case ast.Name(id=name):
                return name in self.errors
            case ast.Attribute(attr=name):
                return name in _ERRORS
            case ast.Call(func=ast.Name(id=name)):
                function = self.facts.functions.get(name)
                returns = function.returns if function is not None else None
                return name in _ERROR_NAMES or (returns is not None and _names_error(returns))
            case ast.BoolOp(values=parts):
                return any(map(self.is_error, parts))
            case ast.IfExp(body=one, orelse=other):
                return self.is_error(one) or self.is_error(other)
        return False

    def is_text(self, node: ast.expr) -> bool:
        """Tell an expression that is a text of an error, or is made of one."""
        match node:
            case ast.Attribute(attr=name):
                return name in _TEXTS
            case ast.Name(id=name):
                return name in self.texts
            case ast.FormattedValue(value=value):
                return self.is_text(value) or self.is_error(value)
            case ast.JoinedStr(values=parts) | ast.BoolOp(values=parts):
                return any(map(self.is_text, parts))
            case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
                return self.is_text(one) or self.is_text(other)
            case ast.Subscript(value=value) | ast.NamedExpr(value=value) | ast.Await(value=value):
                return self.is_text(value)
            case ast.Call(func=ast.Name(id=name), args=[first]) if name in _MAKE_TEXT:
                return self.is_error(first) or self.is_text(first)
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if self.is_text(value):
                return name in _CUTS | _SAME_TEXT
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=given):
                is_passing = name in self.facts.passing or name in _SAME_TEXT
                return name in self.facts.returning or (
                    is_passing and any(map(self.is_text, given))
                )
        return False

    def learn(self) -> None:
        """Note which functions return a text, or are handed one."""
        for is_handed, known in ((False, self.facts.returning), (True, self.facts.passing)):
            self.bind(is_handed=is_handed)
            returned = (each.value for each in self.nodes if isinstance(each, ast.Return))
            if any(value is not None and self.is_text(value) for value in returned):
                known |= {each.name for each in self.functions} & {*self.facts.functions}
        for node in self.nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                function = self.facts.functions.get(name)
                if function is not None:
                    self._hand(function, node)

    def _hand(self, function: _Function, call: ast.Call) -> None:
        known = [each.arg for each in _parameters(function) if each.arg not in ("self", "cls")]
        pairs = [*zip(known, call.args, strict=False)]
        pairs += [(each.arg, each.value) for each in call.keywords if each.arg is not None]
        names = {name for name, value in pairs if self.is_text(value)}
        if names:
            self.facts.handed.setdefault(function.name, set()).update(names)

    def readings(self) -> Iterator[ast.expr]:
        """Find where a text is searched, cut or compared."""
        for node in self.nodes:
            match node:
                case ast.Compare(left=left, ops=ops, comparators=others):
                    is_told = any(not isinstance(each, ast.Is | ast.IsNot) for each in ops)
                    if is_told and self._reads(left, ops[0], others[0]):
                        yield node
                case ast.Match(subject=value) if self.is_text(value):
                    yield value
                case ast.Subscript(value=value, slice=place):
                    is_args = isinstance(value, ast.Attribute) and value.attr == "args"
                    if (self.is_text(value) and not is_args) or self.is_text(place):
                        yield node
                case ast.Call(func=ast.Attribute(value=value, attr=name), args=given):
                    is_cut = name in _CUTS and self.is_text(value) and not _is_by_line(name, given)
                    if is_cut or (name in _LOOKS and any(map(self.is_text, given))):
                        yield node

    def _reads(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> bool:
        """A subject is a name, and may be compared with others as a whole."""
        is_name = isinstance(left, ast.Attribute) and left.attr == "subject"
        is_in_text = isinstance(op, ast.In | ast.NotIn) and not isinstance(right, ast.Tuple)
        return (self.is_text(left) and not is_name) or (
            self.is_text(right) and (is_in_text or not is_name)
        )


def _inside(root: _Function | ast.Module) -> Iterator[ast.AST]:
    """The nodes below; of a module, but for its functions and classes."""
    for child in ast.iter_child_nodes(root):
        if isinstance(root, _Function) or not isinstance(child, ast.ClassDef | _Function):
            yield from ast.walk(child)


def _parameters(function: _Function) -> list[ast.arg]:
    given = function.args
    return [*given.posonlyargs, *given.args, *given.kwonlyargs]


def _is_by_line(name: str, given: list[ast.expr]) -> bool:
    return name == "split" and [ast.unparse(each) for each in given] == [r"'\n'"]


def _names_error(annotation: ast.expr) -> bool:
    words = (each.id for each in ast.walk(annotation) if isinstance(each, ast.Name))
    return any(word in _ERROR_NAMES or word.endswith(("Error", "Exception")) for word in words)


def _outermost(tree: ast.Module | ast.ClassDef) -> Iterator[_Function]:
    for node in tree.body:
        if isinstance(node, _Function):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from _outermost(node)


def readings(sources: dict[str, str]) -> dict[str, list[str]]:
    """Find what reads a text of an error, by file."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    facts, before = Facts(), -1
    scopes = [
        (name, Scope(root, facts))
        for name, tree in trees.items()
        for root in (tree, *_outermost(tree))
    ]
    facts.add(scope for _, scope in scopes)
    while before < facts.size:
        before = facts.size
        for _, scope in scopes:
            if not scope.is_clean:
                scope.learn()
    found: dict[str, list[str]] = {}
    for name, scope in scopes:
        if not scope.is_clean:
            scope.bind()
            for node in scope.readings():
                found.setdefault(name, []).append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def test_nothing_reads_what_an_error_says() -> None:
    """Whoever rewords a message changes no decision."""
    sources = {str(path.relative_to(PACKAGE)): path.read_text() for path in PACKAGE.rglob("*.py")}
    found = readings(sources)
    assert {name: lines for name, lines in found.items() if name not in ALLOWED} == {}
    assert {*ALLOWED} - {*found} == set(), "is allowed, and read nowhere"


@pytest.mark.parametrize(
    "line",
    [
        'error.subject.partition("/")[0]',
        '"token has expired" in error.cause',
        "error.hint == IS_IMMUTABLE",
        "error.cause.endswith(NO_TLS)",
        "PATTERN.search(error.message)",
        're.sub("a", "b", str(error))',
        "str(error).encode() == WORDS",
        'f"{error}".lower()',
        "TABLE[error.cause]",
        "TABLE.get(error.message)",
        "error.message[:3]",
        "(said := str(error)) and said.lower()",
        "error.args[0].strip()",
        '(error.hint or "").removesuffix("again")',
        "receipt.error.message.rpartition(':')",
        "describe(error).startswith(START)",
        "is_known(error.cause)",
        "is_known(text=error.cause)",
        "[each for each in LINES if each in error.subject]",
        "[one for one in error.message.split('\\n') if one.strip()]",
    ],
)
def test_readings_are_found(line: str) -> None:
    """Each way in which one was once read, and others, also by way of names and functions."""
    assert readings({"a.py": _module(line)}) != {}
    assert readings({"a.py": _module(f"{line} if other else None")}) != {}


@pytest.mark.parametrize(
    "line",
    [
        'f"{error.message} while it was read"',
        'UsageError(error.cause, value=error.value, hint=error.hint or "try again")',
        "error.hint is not None",
        "error.subject == address",
        "error.host == host and error.status in (401, 403)",
        "describe(error)",
        "error.message.split('\\n')",
        'name.partition("/")[0]',
    ],
)
def test_printing_and_facts_are_no_readings(line: str) -> None:
    """A message may be made of another, and a field may be asked."""
    assert readings({"a.py": _module(line)}) == {}


def _module(line: str) -> str:
    """A module in which `line` is done with an error that was caught, with functions it calls."""
    return f"""
def describe(error: ImgmigrateError) -> str:
    return f"{{error.message}}."

def is_known(text: str) -> bool:
    return {"text in KNOWN" if "is_known" in line else "True"}

def work(address: str, name: str, other: bool) -> object:
    try:
        return do()
    except StoreError as error:
        return {line}
"""
