"""YAML files whose mistakes are all reported at once, each with its line: `file:line: sentence`.

`load` reads a file into plain dicts and lists and remembers the line of each key. `validate` turns it into a pydantic
model. Neither stops at the first mistake: both collect `Problem`s, and the caller raises one ConfigError.

A scalar stays the text that was written (null is None), and the model gives it its type. So `no` is the word no, `1.10`
does not become 1.1, and an account id keeps its leading zeros.
"""

from __future__ import annotations

import copy
import difflib
import os
import re
import stat
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
"""The place of a value: the keys and list indexes that lead to it from the root."""

ModelT = TypeVar("ModelT", bound=BaseModel)

_MAX_BYTES = 1024**2
_NULL = "tag:yaml.org,2002:null"
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # YAML has escapes for these; paths, names and SQL cannot contain them
_REFERENCE = re.compile(r"\$\{([^}]*)(\}?)")
_PLAIN_WORDS = {
    "model_type": "should be a mapping of keys to values",
    "dict_type": "should be a mapping of keys to values",
    "tuple_type": "should be a list",
    "string_type": "should be a text",
    "int_parsing_size": "should be a number of fewer digits",
    "byte_size": "should be a size, such as 512MiB",
    "byte_size_unit": "should be a size, such as 512MiB",
}
"""Sentences for the error types of pydantic whose own sentence is about Python, not YAML."""


class Form(BaseModel):
    """A mapping in a file. Unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Problem:
    """A mistake: its 1-based line, its place, and a sentence that ends with the next step."""

    line: int
    place: Place
    sentence: str


@dataclass(frozen=True)
class YamlFile:
    """A file as read.

    Attributes:
        path: the file.
        data: its root mapping.
        lines: the 1-based line of each place.
        problems: the mistakes that `load` has found.
    """

    path: Path
    data: dict[str, Any]
    lines: dict[Place, int]
    problems: tuple[Problem, ...]

    def problem(self, place: Place, sentence: str) -> Problem:
        """A problem at a place, or at the nearest enclosing place that is in the file."""
        known = next(place[:size] for size in range(len(place), -1, -1) if place[:size] in self.lines)
        return Problem(self.lines[known], place, sentence)

    def report(self, problems: Iterable[Problem]) -> list[str]:
        """The problems as `file:line: sentence`, in the order of their lines, without duplicates."""
        in_order = sorted(problems, key=lambda problem: problem.line)
        return list(dict.fromkeys(f"{self.path}:{problem.line}: {problem.sentence}" for problem in in_order))


def read_text(path: Path) -> str:
    """The text of a small file. Raises ConfigError if it is not UTF-8, too large, or no file, such as a device."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # it may have no end, or wait for a writer
            raise ConfigError([f"{path}:1: is a device or a pipe; save the text as a file, and name that"])
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigError([f"{path}:1: is larger than 1 MiB; check that it is the right file"])
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}:1: not UTF-8 text ({error.reason}); save it as UTF-8"]) from error
    except OSError as error:
        raise ConfigError(
            [f"{path}:1: cannot be read: {error.strerror}; check the path and its permissions"]
        ) from error


def load(path: Path) -> YamlFile:
    """Reads a YAML file and expands `${NAME}` and `${NAME:-default}` in its values.

    As in a shell, the default also replaces a variable that is set and empty. Duplicate keys and unset variables are in
    the file's `problems`. Raises ConfigError if the file cannot be read, is not YAML or is no mapping.
    """
    text = read_text(path)
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
    """The file as a model, and all problems, with those of `load`. An empty list means that there are none.

    An unknown key is read as the key that its message suggests, and a bad value is left out. So the rest of the file is
    still checked, and one mistake is not reported as two. With problems, the model is of use for further checks only.
    It is None if it lacks a required key.

    The lines of renamed keys are added to `file.lines`. The model's validators get `context`.
    """
    data = copy.deepcopy(file.data)
    problems = list(file.problems)
    made, errors = _attempt(model, data, context)
    # Unknown keys come first: a renamed key may be the one that another error reports as missing.
    while unknown := [error["loc"] for error in errors if error["type"] == "extra_forbidden"]:
        problems += [file.problem(place, _rename(data, file.lines, model, place)) for place in unknown]
        made, errors = _attempt(model, data, context)
    reported = {problem.place for problem in problems}
    problems += [file.problem(error["loc"], _sentence(error)) for error in errors if error["loc"] not in reported]
    # From here on nothing is reported: an error that appears after a value is left out is caused by that.
    while any(_leave_out(data, error["loc"]) for error in errors if error["type"] != "missing"):
        made, errors = _attempt(model, data, context)
    return made, problems


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like `word`; None if none is like it."""
    # By difflib's own cutoff of 0.6, `operation` is like `version`. Two letters swapped in a word of three are 0.67.
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.65)
    return close[0] if close else None


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known word, or else all of them."""
    close = nearest(word, known)
    if close:
        return f"; did you mean '{close}'?"
    return f"; known here: {', '.join(known)}" if known else ""


@dataclass
class _Reader:
    """Walks the nodes of a file, and collects their lines and problems."""

    lines: dict[Place, int]
    problems: list[Problem] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def value(self, node: yaml.Node, place: Place) -> Any:
        # An alias is the node of its anchor. Without aliases, each value has one line, and a file is finite.
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
                self._problem(key, (*inner, "?"), sentence)  # the place of the first key has checks of its own
                continue
            self.lines[inner] = key.start_mark.line + 1
            found[key.value] = self.value(value, inner)
        return found

    def _refuse_no_text(self, node: yaml.Node, place: Place) -> None:
        if isinstance(node, yaml.ScalarNode) and (found := _NO_TEXT.search(node.value)):
            self._problem(node, place, f"the escape of character {ord(found[0]):04x} (hex) is not text; leave it out")

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
    """A pydantic error as a sentence about YAML, without the value: it may be a secret."""
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
    """Replaces an unknown key by the nearest known key, or drops it. Returns the sentence about it."""
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
    """Removes a bad value; of a list, the whole list, so that no index shifts. False if there is nothing to remove."""
    for size in range(len(place), 0, -1):
        *parents, key = place[:size]
        owner = _at(data, parents)
        if isinstance(owner, dict) and key in owner:
            del owner[key]
            return True
    return False


def _at(data: Any, place: Sequence[str | int]) -> Any:
    """The value at a place; None if the place is not in the data, as after an earlier repair."""
    for step in place:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _keys_at(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """The keys that the model declares for the mapping at a place."""
    annotation: Any = model
    for step in place:
        annotation = _unwrapped(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = _fields(annotation)[str(step)].annotation
        else:  # X of dict[str, X] and of tuple[X, ...]
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
