"""No module tells kinds of step apart, nor asks a step for what not every kind says: a new kind would have to be added to it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module

import pytest

from harness.scenario.step import KINDS, Step
from harness.scenario.steps.hooks import Dump
from tests.modules import ROOT, modules, tree

PATHS = [str(path.relative_to(ROOT)) for _, path in modules()]
CLASSES = frozenset(KINDS.values())
NAMES = {kind.__name__ for kind in CLASSES}
#: The rooms in which ``type(…)`` is a step's unless it is listed below.
ROOMS = ("scenario", "model", "guest", "explore", "conformance")

#: Module → what it asks a step beside its data and its facts, and why none of it needs an edit for a new kind.
PLACES: dict[str, list[str]] = {
    "scenario/step.py": ["cls.concern", "cls.do", "cls.do", "cls.do", "kind.concern", "kind.do", "kind.do"],  # makes kinds, and finds them
    "scenario/codec.py": ["step.do"],  # the name in JSON
    "conformance/contrast.py": ["step.do"],  # the name in a sentence
    "explore/minimise.py": ["step.concern", "step.concern"],  # DRAWN, which has each concern's own file
    "explore/steps/__init__.py": ["kind.concern"],  # makes it
    "guest/executor.py": ["type(step)", "type(step)"],  # HANDLERS, which by_kind() makes
    "model/predict.py": ["type(step)"],  # HANDLERS
    "scenario/reader.py": ["type(self.value)"],  # a JSON value, no step
}
#: Module → keys of its tables that are kinds' names by chance.
NAMESAKES = {
    "boxes/vagrantfile.py": {"memory"},
    "cli/stress.py": {"memory"},
    "conformance/rule.py": {"arp", "redirect", "tee"},  # a rule's needs=
    "guest/profile.py": {"redirect", "tee"},  # fields of the profile
    "guest/stress.py": {"memory"},
    "outcome/codec.py": {"answer"},
}

#: What modules call a step.
STEP = re.compile(r"(?:.*\.)?(?:step|each|hook|one)|.*\bsteps\[.*\]")
#: A kind's name, or several.
Written = ast.Constant | ast.Tuple | ast.List | ast.Set | ast.Dict
#: ``list[Sysctl]``: a type, no look-up.
GENERIC = re.compile(r"(?:.*\.)?(?:list|tuple|set|frozenset|dict|type|Sequence|Iterable|Iterator|Mapping|Callable|Collection)")


def asked_of_steps(tree: ast.AST) -> Iterator[str]:
    """Expressions that ask a step for data by a name in a string, or whether it is one kind, beside :meth:`Step.common` and the facts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("getattr", "hasattr", "attrgetter"):
            names = {one.value for one in node.args if isinstance(one, ast.Constant)}
            if names & {"do", "concern", "__class__"} or (names and STEP.fullmatch(ast.unparse(node.args[0]))):
                yield ast.unparse(node)
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(re.search(r"\b(?:do|concern)$", ast.unparse(one)) for one in sides) and any(isinstance(one, Written) for one in sides):
                yield ast.unparse(node)
        elif isinstance(node, ast.Match) and ast.unparse(node.subject).endswith((".do", ".concern")):
            yield ast.unparse(node.subject)


def names_of_kinds(tree: ast.AST, *, in_room: bool = True) -> Iterator[str]:
    """Expressions that ask a step, or a kind, for its name, its concern or its class.

    :param in_room: in one of :data:`ROOMS`, where the argument of ``type()`` may be a step by any name
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (node.attr in ("do", "concern") or (node.attr == "__class__" and in_room)):
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "type" and len(node.args) == 1:
            argument = ast.unparse(node.args[0])
            if argument != "None" and (in_room or STEP.fullmatch(argument)):
                yield ast.unparse(node)


def written_kinds(tree: ast.AST) -> Iterator[str]:
    """Kinds' names that are keys of a table."""
    for node in ast.walk(tree):
        keys: list[ast.expr | None] = []
        if isinstance(node, ast.Dict):
            keys = node.keys
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            keys = [node.slice]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "dict":
            yield from (one.arg for one in node.keywords if one.arg in KINDS)
        yield from (key.value for key in keys if isinstance(key, ast.Constant) and key.value in KINDS)


class Meanings:
    """What the names of a module stand for."""

    def __init__(self, tree: ast.AST) -> None:
        self._known: dict[str, str] = {}
        self._unions: dict[str, list[type[Step]]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._known[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else alias.name.partition(".")[0]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                self._known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute) and self.kind(node.value):
                self._known |= {target.id: self._path(node.value) for target in node.targets if isinstance(target, ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and (kinds := list(self.bare(node.value))):
                self._unions |= {target.id: kinds for target in node.targets if isinstance(target, ast.Name)}

    def _path(self, node: ast.AST) -> str:
        if isinstance(node, ast.Attribute):
            return f"{self._path(node.value)}.{node.attr}"
        return self._known.get(node.id, "") if isinstance(node, ast.Name) else ""

    def kind(self, node: ast.AST) -> type[Step] | None:
        """The kind of step that an expression names."""
        path, _, name = self._path(node).rpartition(".")
        if not path.startswith("harness.") or name not in NAMES:
            return None
        found = getattr(import_module(path), name, None)
        return found if found in CLASSES else None

    def bare(self, node: ast.AST | None) -> Iterator[type[Step]]:
        """``A``, ``A | B``, ``(A, B)``."""
        if isinstance(node, ast.Name) and node.id in self._unions:
            yield from self._unions[node.id]
        elif isinstance(node, ast.Name | ast.Attribute) and (kind := self.kind(node)):
            yield kind
        elif isinstance(node, ast.BinOp):
            yield from (*self.bare(node.left), *self.bare(node.right))
        elif isinstance(node, ast.Tuple | ast.Set | ast.List):
            yield from (kind for one in node.elts for kind in self.bare(one))


def of_annotations(tree: ast.AST) -> set[int]:
    """Identities of all nodes of annotations."""
    tops = [node.annotation for node in ast.walk(tree) if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation]
    tops += [node.returns for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns]
    tops += [node.slice for node in ast.walk(tree) if isinstance(node, ast.Subscript) and GENERIC.fullmatch(ast.unparse(node.value))]
    return {id(one) for top in tops for one in ast.walk(top)}


def told_apart(tree: ast.AST) -> Iterator[type[Step]]:
    """Kinds that a module tells objects apart by: compared, in patterns, in a collection, as a key, or handed to a function."""
    meanings, typed = Meanings(tree), of_annotations(tree)
    for node in (node for node in ast.walk(tree) if id(node) not in typed):
        asked: list[ast.AST | None] = []
        if isinstance(node, ast.Call):
            asked = [*node.args, *(one.value for one in node.keywords)]
        elif isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchClass):
            asked = [node.cls]
        elif isinstance(node, ast.Dict):
            asked = [*node.keys]
        elif isinstance(node, ast.Subscript):
            asked = [] if GENERIC.fullmatch(ast.unparse(node.value)) else [node.slice]
        elif isinstance(node, ast.Tuple | ast.Set | ast.List):
            asked = [node]
        elif isinstance(node, ast.FunctionDef) and any(ast.unparse(one).endswith(".register") for one in node.decorator_list):
            asked = [one.annotation for one in node.args.args]
        yield from (kind for one in asked for kind in meanings.bare(one))


def source(path: str) -> ast.AST:
    return tree(ROOT / path)


def own_kinds(path: str) -> set[type[Step]]:
    """The kinds of a concern, for a file of its name in a room's ``steps``."""
    place = ROOT / path
    return {kind for kind in CLASSES if place.parent.name == "steps" and kind.concern == place.stem}


def test_no_room_asks_a_step_for_a_name_that_is_not_common() -> None:
    """``getattr(step, "fail", ())`` would be a promise that no kind has read, ``step.do == "tee"`` a fact that other kinds do not say."""
    asked = {path: found for path in PATHS if (found := list(asked_of_steps(source(path))))}
    assert not asked, "Step.common(name), with the name in COMMON (harness/scenario/step.py), or one of the kind's facts"


def test_only_listed_places_ask_for_a_kind() -> None:
    found = {path: sorted(asked) for path in PATHS if (asked := list(names_of_kinds(source(path), in_room=path.startswith(ROOMS))))}
    assert found == PLACES, "one of the kind's facts (harness/scenario/step.py) says it without a table"


def test_no_table_has_kinds_names_for_keys() -> None:
    found = {path: keys for path in PATHS if (keys := set(written_kinds(source(path))) - {kind.do for kind in own_kinds(path)})}
    assert found == NAMESAKES, "one of the kind's facts, or another word: NAMESAKES"


def test_no_table_by_kind() -> None:
    """A file of a concern may tell its own kinds apart, where it draws them and where it does them together."""
    found = {path: kinds for path in PATHS if (kinds := set(told_apart(source(path))) - own_kinds(path))}
    assert not found


@pytest.mark.parametrize(("text", "found"), [
    ("getattr(step, 'id', '')", 1), ('hasattr(run.step, "fail")', 1), ('getattr(scenario.steps[3], "id")', 1), ("getattr(step, name)", 0),
    ('getattr(self, "fail", ())', 0), ('f"{getattr(step, \'id\', \'\')}"', 1), ('step.do in ("redirect", "tee")', 1),
    ('"tee" == scenario.steps[0].do', 1), ('step.do != "tee"', 1), ('do == "tee"', 1), ("KINDS.get(step.do)", 0), ("step.do in KINDS", 0),
    ('match step.do:\n    case "tee": ...', 1), ('step.common("id")', 0), ('step.concern == "sysctl"', 1), ('attrgetter("do")(step)', 1),
    ('getattr(it, "do")', 1), ('match it.concern:\n    case "nat": ...', 1),
])
def test_every_question_to_a_step_is_seen(text: str, found: int) -> None:
    assert len(list(asked_of_steps(ast.parse(text)))) == found


@pytest.mark.parametrize(("text", "found"), [
    ("T.get(step.do, 0)", ["step.do"]), ("step.do in _UNDONE", ["step.do"]), ('step.concern == "sysctl"', ["step.concern"]),
    ("type(step) is Sysctl", ["type(step)"]), ("type(it).__name__", ["type(it)"]), ("it.__class__", ["it.__class__"]),
    ("type(None)", []), ("step.donor", []),
])
def test_every_question_for_a_kind_is_seen(text: str, found: list[str]) -> None:
    assert list(names_of_kinds(ast.parse(text))) == found


def test_elsewhere_only_a_step_is_asked_for_its_class() -> None:
    assert list(names_of_kinds(ast.parse("type(step), type(error), error.__class__"), in_room=False)) == ["type(step)"]


@pytest.mark.parametrize(("text", "found"), [
    ('T = {"sysctl": 1, "other": 2}', ["sysctl"]), ('T["tee"] = 1', ["tee"]), ("dict(sysctl=1)", ["sysctl"]), ('{"do": "sysctl"}', []),
])
def test_every_kinds_name_for_a_key_is_seen(text: str, found: list[str]) -> None:
    assert list(written_kinds(ast.parse(text))) == found


@pytest.mark.parametrize("import_", [
    "from harness.scenario.steps.hooks import Dump as X",
    "from harness.explore.steps.hooks import Dump as X",
    "import harness.scenario.steps.hooks\nX = harness.scenario.steps.hooks.Dump",
    "import harness.scenario.steps.hooks as hooks\nX = hooks.Dump",
    "from harness.scenario import steps\nX = steps.hooks.Dump",
    "from harness.scenario.steps.hooks import Dump\nX = Dump | int",
])
@pytest.mark.parametrize("use", [
    "isinstance(step, X)", "isinstance(step, (int, X))", "isinstance(step, int | X)", "issubclass(kind, X)", "type(step) is X", "kind == X",
    "T = {X: 1}", "T = (X,)", "T = [X]", "T[X] = 1", "T[X]", "T.get(X)", "T.setdefault(X, 1)", "one.register(X)", "dispatch(of=X)",
    "match step:\n    case X(): ...", "@one.register\ndef _(step: X): ...", "@one.register(X)\ndef _(step): ...",
])
def test_every_form_of_a_table_is_seen(import_: str, use: str) -> None:
    assert set(told_apart(ast.parse(f"{import_}\n{use}"))) == {Dump}


@pytest.mark.parametrize("use", [
    "isinstance(step, steps.hooks.Dump)", "T[steps.hooks.Dump] = 1", "match step:\n    case steps.hooks.Dump(): ...",
])
def test_a_kind_by_its_modules_name_is_seen(use: str) -> None:
    assert set(told_apart(ast.parse(f"from harness.scenario import steps\n{use}"))) == {Dump}


@pytest.mark.parametrize("use", [
    "def do(step: X) -> X: ...", "step: X", "X()", "def do(steps: list[X], kind: type[X]): ...", "T = list[X]", "X.read(value)",
])
def test_a_kind_that_is_made_or_typed_is_no_table(use: str) -> None:
    assert not list(told_apart(ast.parse(f"from harness.scenario.steps.hooks import Dump as X\n{use}")))
