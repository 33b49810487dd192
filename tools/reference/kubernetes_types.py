"""Writes Kubernetes' own types into the CRD, so that the API server checks them as it checks them in a pod.

A CRD cannot point at another schema, so the schemas of affinity, tolerations and the security contexts must
stand in it in full. They come from the OpenAPI document of an API server and replace what stands between the
comments `# >>> TYPE` and `# <<<`; the field's own type and description above the block stay as written.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

Schema = dict[str, Any]

_BLOCK = re.compile(r"^(?P<indent> *)# >>> (?P<type>\S+)\n.*?^ *# <<<\n", re.MULTILINE | re.DOTALL)
_COPIED = (
    "type",
    "format",
    "enum",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
)
_LINE_WIDTH = 118
_LONGEST_DESCRIPTION = 240


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, as the rest of the file does, and writes repeated parts out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def embed(crd_text: str, openapi: Schema) -> str:
    """Return the CRD's text with every marked block renewed from the core API group's OpenAPI v3 document.

    Raises KeyError when a marked type is not in the document.
    """
    schemas = openapi["components"]["schemas"]

    def block(match: re.Match[str]) -> str:
        indent = match["indent"]
        schema = _structural(schemas[match["type"]], schemas)
        body = {key: value for key, value in schema.items() if key not in ("type", "description")}
        text = yaml.dump(
            body, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_LINE_WIDTH - len(indent)
        )
        lines = "".join(f"{indent}{line}\n" for line in text.splitlines())
        return f"{indent}# >>> {match['type']}\n{lines}{indent}# <<<\n"

    return _BLOCK.sub(block, crd_text)


def _structural(node: Schema, schemas: dict[str, Schema]) -> Schema:
    """Resolve references, keep what a structural schema may hold, shorten descriptions to one sentence."""
    description = node.get("description", "")
    for reference in (node, *node.get("allOf", [])):
        if "$ref" in reference:
            target = schemas[reference["$ref"].rsplit("/", 1)[1]]
            own = {key: value for key, value in node.items() if key not in ("$ref", "allOf")}
            node = target | own
            description = description or target.get("description", "")
    result: Schema = {"type": node["type"], "description": first_sentence(description)}
    result |= {key: node[key] for key in _COPIED if key in node and key != "type"}
    if "items" in node:
        result["items"] = _structural(node["items"], schemas)
        result["items"]["description"] = result["items"]["description"] or "One entry of the list."
    if "additionalProperties" in node:
        result["additionalProperties"] = _structural(node["additionalProperties"], schemas)
        result["additionalProperties"]["description"] = (
            result["additionalProperties"]["description"] or "The value of one key."
        )
    if "properties" in node:
        result["properties"] = {
            name: _structural(value, schemas) for name, value in sorted(node["properties"].items())
        }
    return result


def first_sentence(text: str) -> str:
    """Return the first sentence of a description, so that an embedded type stays readable."""
    text = " ".join(text.split("\n\n", 1)[0].split())
    end = re.search(r"(?<!e\.g)(?<!i\.e)\. +(?=[A-Z])", text)
    sentence = text[: end.start() + 1] if end else text
    if len(sentence) > _LONGEST_DESCRIPTION:
        cut = max(sentence.rfind(mark, 0, _LONGEST_DESCRIPTION) for mark in (", ", "; ", ": ", " ("))
        sentence = sentence[: cut if cut > 0 else _LONGEST_DESCRIPTION].rstrip() + "."
    return sentence
