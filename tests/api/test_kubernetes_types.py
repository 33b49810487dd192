"""The tool that writes Kubernetes' own types into the CRD, on a small document. No cluster needed."""

from __future__ import annotations

import pytest
import yaml
from apiserver import CRD_FILE
from kubernetes_types import embed, first_sentence

OPENAPI = {
    "components": {
        "schemas": {
            "io.k8s.Thing": {
                "type": "object",
                "description": "A thing.",
                "required": ["part"],
                "properties": {
                    "part": {
                        "allOf": [{"$ref": "#/components/schemas/io.k8s.Part"}],
                        "default": {},
                        "description": "The part, e.g. a wheel. It turns.",
                    },
                    "names": {
                        "type": "array",
                        "items": {"type": "string", "default": ""},
                        "description": "Names.",
                        "x-kubernetes-list-type": "set",
                        "x-kubernetes-patch-strategy": "merge",
                    },
                },
            },
            "io.k8s.Part": {
                "type": "object",
                "description": "A part of things.",
                "properties": {"size": {"type": "integer", "format": "int64", "description": "Its size."}},
            },
        }
    }
}

TEXT = """\
thing:
  type: object
  description: Mine.
  # >>> io.k8s.Thing
  properties: {old: {type: string}}
  # <<<
  x-after: kept
"""


def test_references_are_resolved_and_the_rest_is_kept() -> None:
    thing = yaml.safe_load(embed(TEXT, OPENAPI))["thing"]
    assert thing == {
        "type": "object",
        "description": "Mine.",
        "required": ["part"],
        "properties": {
            "names": {
                "type": "array",
                "description": "Names.",
                "x-kubernetes-list-type": "set",
                "items": {"type": "string", "description": "One entry of the list."},
            },
            "part": {
                "type": "object",
                "description": "The part, e.g. a wheel.",
                "properties": {"size": {"type": "integer", "format": "int64", "description": "Its size."}},
            },
        },
        "x-after": "kept",
    }


def test_a_second_time_changes_nothing() -> None:
    once = embed(TEXT, OPENAPI)
    assert embed(once, OPENAPI) == once


def test_an_unknown_type_is_an_error() -> None:
    with pytest.raises(KeyError, match="Thing"):
        embed(TEXT, {"components": {"schemas": {}}})


def test_the_crd_has_the_types_it_needs() -> None:
    text = CRD_FILE.read_text()
    for name in ("Toleration", "Affinity", "PodSecurityContext", "SecurityContext"):
        assert f"# >>> io.k8s.api.core.v1.{name}\n" in text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("One. Two.", "One."),
        ("One\nline. Two", "One line."),
        ("One, i.e. Two. Three", "One, i.e. Two."),
        ("No end", "No end"),
        ("First part, " + "and so on, " * 40, "First part, " + ("and so on, " * 20).rstrip(", ") + "."),
    ],
)
def test_first_sentence(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence
