"""YAML files whose mistakes are all reported at once, each where it stands: `file:line: sentence`.

`load` reads a file into plain dicts and lists and remembers the line of every key; `validate` turns it into a
pydantic model. Neither stops at the first mistake: both collect `Problem`s, and the caller raises one ConfigError.

Scalars stay the TEXT that was written (null is None); the model gives them their types. So `no` is the word no,
`1.10` does not become 1.1, and an account id keeps its leading zeros.
"""

from __future__ import annotations

import copy
import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from compactor.errors import ConfigError

Place = tuple[str | int, ...]
"""Where a value stands: the keys and list indexes that lead to it from the root."""

ModelT = TypeVar("ModelT", bound=BaseModel)

_NULL = "tag:yaml.org,2002:null"
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # what YAML can escape, and no path, name or SQL can hold
_REFERENCE = re.compile(r"\$\{([^}]*)(\}?)")
_PLAIN_WORDS = {
    "model_type": "should be a mapping of keys to values",
    "dict_type": "should be a mapping of keys to values",
    "tuple_type": "should be a list",
    "string_type": "should be a text",
    "byte_size": "should be a size, such as 512MiB",
    "byte_size_unit": "should be a size, such as 512MiB",
}
"""pydantic's error types whose own sentence speaks of Python, not of YAML."""


class Form(BaseModel):
    """A mapping in a file. Unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Problem:
    """One mistake: its 1-based line, its place, and a sentence that ends with what to do."""

    line: int
    place: Place
    sentence: str


@dataclass(frozen=True)
class YamlFile:
    """A file as read: `data` is its root mapping, `lines` the 1-based line of each place, `problems` what was wrong."""

    path: Path
    data: dict[str, Any]
    lines: dict[Place, int]
    problems: tuple[Problem, ...]

    def problem(self, place: Place, sentence: str) -> Problem:
        """A problem at `place`, or at the nearest enclosing place that the file has."""
        known = next(place[:size] for size in range(len(place), -1, -1) if place[:size] in self.lines)
        return Problem(self.lines[known], place, sentence)

    def report(self, problems: Iterable[Problem]) -> list[str]:
        """The problems as `file:line: sentence`, top of the file first, none twice."""
        in_order = sorted(problems, key=lambda problem: problem.line)
        return list(dict.fromkeys(f"{self.path}:{problem.line}: {problem.sentence}" for problem in in_order))


def load(path: Path) -> YamlFile:
    """Read one YAML file and expand `${NAME}` and `${NAME:-default}` in its values.

    As in a shell, the default also stands in for a variable that is set and empty. Duplicate keys and unset variables
    come back in `problems`. Raises ConfigError if nothing can be made of the file: unreadable, not YAML, no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}:1: not UTF-8 text ({error.reason}); save it as UTF-8"]) from error
    except OSError as error:
        raise ConfigError(
            [f"{path}:1: cannot be read: {error.strerror}; check the path and its permissions"]
        ) from error
    reader = _Reader(lines={(): 1})
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        data = reader.mapping(root, ()) if isinstance(root, yaml.MappingNode) else None
    except RecursionError as error:
        raise ConfigError([f"{path}:1: nested too deeply; check its brackets and dashes"]) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError([f"{path}:{line}: not valid YAML: {reason}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}:1: not valid YAML: {str(error).splitlines()[0]}"]) from error
    except (ValueError, OverflowError) as error:  # of chr(), which PyYAML lets through
        raise ConfigError([f"{path}:{loader.line + 1}: not valid YAML: an escape that is no character"]) from error
    if data is None:
        raise ConfigError([f"{path}:1: should be a mapping of keys to values, at least one"])
    return YamlFile(path, data, reader.lines, tuple(reader.problems))


def validate(
    file: YamlFile, model: type[ModelT], context: Mapping[str, Any] | None = None
) -> tuple[ModelT | None, list[Problem]]:
    """The file as a `model`, with ALL problems found so far, those of `load` included. An empty list: all is well.

    A mistaken key is read as the key that its message suggests, and a mistaken value is left out, so that the rest of
    the file is still checked and one slip is not reported as two. The model that comes back may thus be a repaired
    one: of use for further checks, never for a run that has problems. It is None if it lacks a required key.
    The lines of renamed keys are added to `file.lines`. `context` is handed to the model's validators.
    """
    data = copy.deepcopy(file.data)
    problems = list(file.problems)
    made, errors = _attempt(model, data, context)
    # Unknown keys go first, alone: a renamed key may be the very one that another error says is missing.
    while unknown := [error["loc"] for error in errors if error["type"] == "extra_forbidden"]:
        problems += [file.problem(place, _rename(data, file.lines, model, place)) for place in unknown]
        made, errors = _attempt(model, data, context)
    told = {problem.place for problem in problems}
    problems += [file.problem(error["loc"], _sentence(error)) for error in errors if error["loc"] not in told]
    # From here on nothing is told: what fails only once a mistake is left out, fails because of it.
    while any(_leave_out(data, error["loc"]) for error in errors if error["type"] != "missing"):
        made, errors = _attempt(model, data, context)
    return made, problems


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be, if any is near."""
    # difflib's own cutoff of 0.6 takes `operation` for `version`; a swap in a word of three is 0.67.
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.65)
    return close[0] if close else None


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """How a sentence about the unknown `word` ends: with the nearest known one, else with all of them."""
    close = nearest(word, known)
    if close:
        return f"; did you mean '{close}'?"
    return f"; known here: {', '.join(known)}" if known else ""


@dataclass
class _Reader:
    """Walks the nodes of one file, and collects the lines and the problems on its way."""

    lines: dict[Place, int]
    problems: list[Problem] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def value(self, node: yaml.Node, place: Place) -> Any:
        # An alias composes to the very node of its anchor. Refusing it keeps one line per value, and a file finite.
        if id(node) in self.seen:
            self._problem(node, place, "anchors and aliases (&, *) are not supported; write the value out")
            return None
        self.seen.add(id(node))
        self._refuse_no_text(node, place)
        if node.tag.startswith("!"):
            self._problem(node, place, f"tags ({node.tag}) are not supported; write the plain value")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*place, index)) for index, item in enumerate(node.value)]
        if node.tag == _NULL:
            return None
        return _REFERENCE.sub(lambda reference: self._expanded(reference, node, place), node.value)

    def mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _NULL:
                self._problem(key, (*place, "?"), "a key should be a plain word")
                continue
            self._refuse_no_text(key, (*place, key.value))
            inner = (*place, key.value)
            if key.value in found:
                sentence = f"key '{key.value}' is already set on line {self.lines[inner]}; keep one of the two"
                self._problem(key, (*inner, "?"), sentence)  # not the place of the first, which has its own checks
                continue
            self.lines[inner] = key.start_mark.line + 1
            found[key.value] = self.value(value, inner)
        return found

    def _refuse_no_text(self, node: yaml.Node, place: Place) -> None:
        if isinstance(node, yaml.ScalarNode) and (found := _NO_TEXT.search(node.value)):
            self._problem(node, place, f"the escape of character {ord(found[0]):04x} (hex) is no text; leave it out")

    def _item(self, node: yaml.Node, place: Place) -> Any:
        self.lines[place] = node.start_mark.line + 1
        return self.value(node, place)

    def _expanded(self, reference: re.Match[str], node: yaml.Node, place: Place) -> str:
        name, default_given, default = reference[1].partition(":-")
        if not reference[2] or "${" in default or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            self._problem(node, place, "a reference should be ${NAME} or ${NAME:-default}, none within another")
        elif not default_given and name not in os.environ:
            sentence = f"environment variable {name} is not set; set it, or write ${{{name}:-default}}"
            self._problem(node, place, sentence)
        else:
            return os.environ.get(name, default) or default
        return reference[0]

    def _problem(self, node: yaml.Node, place: Place, sentence: str) -> None:
        self.problems.append(Problem(node.start_mark.line + 1, place, sentence))


def _attempt(
    model: type[ModelT], data: dict[str, Any], context: Mapping[str, Any] | None
) -> tuple[ModelT | None, list[ErrorDetails]]:
    try:
        return model.model_validate(data, context=context), []
    except ValidationError as failure:
        return None, failure.errors(include_url=False)


def _sentence(error: ErrorDetails) -> str:
    """A pydantic error as a sentence about YAML. Carries no value: a value may be a secret."""
    name = ".".join(str(step) for step in error["loc"])
    if error["type"] == "missing":
        return f"missing key '{name}'"
    if error["type"] == "value_error":
        return f"'{name}' {error['ctx']['error']}"
    if error["input"] is None:
        return f"'{name}' is empty; give it a value or remove the key"
    if error["type"] == "literal_error":
        expected = error["ctx"]["expected"]
        close = nearest(str(error["input"]), re.findall(r"'([^']*)'", expected))
        return f"'{name}' should be {expected}" + (f"; did you mean '{close}'?" if close else "")
    words = _PLAIN_WORDS.get(error["type"], error["msg"].split(", ")[0])
    subject, should, rest = words.partition("should ")  # "Input should be …", "String should have …"
    return f"'{name}' {should}{rest}" if should else f"'{name}': {subject}"


def _rename(data: dict[str, Any], lines: dict[Place, int], model: type[BaseModel], place: Place) -> str:
    """Put the nearest known key in the place of an unknown one (or drop it), and say so."""
    *parents, key = place
    word, known = str(key), _keys_at(model, parents)
    close, owner = nearest(word, known), _at(data, parents)
    value = owner.pop(word)
    if close and close not in owner:
        owner[close] = value
        for inner, line in list(lines.items()):
            if inner[: len(place)] == place:
                lines[(*parents, close, *inner[len(place) :])] = line
    return f"unknown key '{word}'{did_you_mean(word, known)}"


def _leave_out(data: dict[str, Any], place: Place) -> bool:
    """Remove a mistaken value; within a list the whole list goes, so that no index shifts. False: nothing to remove."""
    for size in range(len(place), 0, -1):
        *parents, key = place[:size]
        owner = _at(data, parents)
        if isinstance(owner, dict) and key in owner:
            del owner[key]
            return True
    return False


def _at(data: Any, place: Sequence[str | int]) -> Any:
    """The value at a place; None once the place leads out of the data (an earlier repair removed it)."""
    for step in place:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _keys_at(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """The keys that the model declares for the mapping at `place`."""
    annotation: Any = model
    for step in place:
        annotation = _unwrapped(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = _fields(annotation)[str(step)].annotation
        else:  # dict[str, X] leads to X, and so does tuple[X, ...]
            annotation = get_args(annotation)[1 if get_origin(annotation) is dict else 0]
    return list(_fields(_unwrapped(annotation)))


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A model's fields by their keys in YAML."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _unwrapped(annotation: Any) -> Any:
    """`X` of `X | None` and of `Annotated[X, …]`."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = get_args(annotation)[0]
    return annotation
