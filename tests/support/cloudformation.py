"""A CloudFormation template with its parameters put in: what `!Ref`, `!Sub`, `!If`, `!GetAtt` and conditions become."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "AWS::StackName": "stack",
}


class _Loader(yaml.SafeLoader):
    """Reads `!Name value` as {"!Name": value}."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {f"!{suffix}": loader.construct_scalar(node)}
    assert isinstance(node, yaml.SequenceNode)
    return {f"!{suffix}": loader.construct_sequence(node, deep=True)}


_Loader.add_multi_constructor("!", _tagged)


class Template:
    """`resources` have the parameters and conditions put in. A resource's own name stands for what it is given."""

    def __init__(self, path: Path, parameters: Mapping[str, Any]) -> None:
        self.raw: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a safe loader
        defaults = {name: each.get("Default") for name, each in self.raw["Parameters"].items()}
        assert parameters.keys() <= defaults.keys()
        self._values = {**PSEUDO, **defaults, **parameters}
        self.resources: dict[str, Any] = {
            name: self._resolved(each)
            for name, each in self.raw["Resources"].items()
            if "Condition" not in each or self._holds(each["Condition"])
        }

    def of_type(self, kind: str) -> dict[str, Any]:
        """The properties of the resources of a type, by name."""
        return {name: each.get("Properties", {}) for name, each in self.resources.items() if each["Type"] == kind}

    def _holds(self, condition: str) -> bool:
        left, right = self.raw["Conditions"][condition]["!Not"][0]["!Equals"]
        return bool(self._resolved(left) != self._resolved(right))

    def _resolved(self, node: Any) -> Any:
        match node:
            case {"!Ref": name}:
                return self._values.get(name, name)
            case {"!GetAtt": name}:
                return name
            case {"!Sub": text}:
                return re.sub(r"\$\{([^}]+)\}", lambda found: str(self._values.get(found[1], found[1])), text)
            case {"!If": [condition, yes, no]}:
                return self._resolved(yes if self._holds(condition) else no)
            case dict():
                return {key: self._resolved(value) for key, value in node.items()}
            case list():
                return [self._resolved(value) for value in node]
        return node
