"""The extra vars of a run: what a role written for ansible-operator expects to find."""

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from paradedb_runner.kube.objects import Key, Object

_SPECIAL_WORDS = ("HTTP", "URL", "IP")
_NUMBERS = re.compile(r"([a-zA-Z])(\d+)([a-zA-Z]\d+)")


def extra_vars(
    key: Key,
    obj: Object,
    *,
    snake_case: bool,
    mark_unsafe: bool,
    variables: Mapping[str, Any],
    finalizer_variables: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    All variables of one run. Later ones win: spec, ansible_operator_meta, the resource itself, ``vars`` of
    the watch, and on a finalizer run the ``vars`` of the finalizer.

    ``mark_unsafe`` keeps Ansible from templating strings that whoever may write the resource put there.
    """
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        spec = {}  # in the resource too: a role may rely on it
        obj = {**obj, "spec": spec}
    safe: Callable[[Any], Any] = unsafe if mark_unsafe else _same
    prefix = resource_variable(key)
    return {
        **safe(snake_keys(spec) if snake_case else spec),
        "ansible_operator_meta": {"name": key.name, "namespace": key.namespace},
        prefix: safe(obj),
        f"{prefix}_spec": safe(spec),
        **variables,
        **(finalizer_variables or {}),
    }


def resource_variable(key: Key) -> str:
    """The variable that holds the whole resource: ``_<group>_<kind>``; a core Secret is ``__secret``."""
    group = re.sub(r"[.-]", "_", key.gvk.group)
    return f"_{group}_{key.gvk.kind.lower()}"


def unsafe(value: Any) -> Any:
    """Wrap every string so that Ansible takes it literally."""
    if isinstance(value, str):
        return {"__ansible_unsafe": value}
    if isinstance(value, dict):
        return {name: unsafe(item) for name, item in value.items()}
    if isinstance(value, list):
        return [unsafe(item) for item in value]
    return value


def snake_keys(value: Any) -> Any:
    """Rename the keys of all mappings inside ``value`` to snake_case."""
    if isinstance(value, dict):
        return {snake_case(name): snake_keys(item) for name, item in value.items()}
    if isinstance(value, list):
        return [snake_keys(item) for item in value]
    return value


def snake_case(name: str) -> str:
    """
    Convert one key as ansible-operator does, oddities included, since roles were written against its results.

    A run of capitals is one word (``userID`` is ``user_id``), HTTP, URL, IP and their plurals are words
    wherever they stand (``egressIPs`` is ``egress_ips``), and a leading capital leaves a leading underscore.
    """
    name = _NUMBERS.sub(r"\1 \2 \3", name).strip(" ")
    capital = "A" <= name[:1] <= "Z"
    for word in _SPECIAL_WORDS:
        name = _isolate(name, word)
    words = [word.lower() for word in _split(name)]
    prefix = "_" if capital and words[0].upper() not in _SPECIAL_WORDS else ""
    return prefix + "_".join(words)


def _isolate(name: str, word: str) -> str:
    """Put underscores around the first ``word`` in ``name``; a plural ``s`` belongs to the word."""
    start = name.find(word)
    if start < 0:
        return name
    end = start + len(word)
    plural = name[end : end + 1] == "s"
    rest = name[end + plural :]
    before = "" if start == 0 and rest else "_"
    return name[:start] + before + word + ("S" if plural else "") + ("_" + rest if rest else "")


def _split(name: str) -> list[str]:
    """Words of a camelCase or separated name; the last capital of a run starts the next word."""
    words: list[str] = []
    word = ""
    for char, following in pairwise(name + " "):
        if word and _is_upper(char) and _is_lower(following):
            words.append(word)
            word = char
        elif word and _is_lower(char) and _is_upper(following):
            words.append(word + char)
            word = ""
        elif char in " _-":
            words.append(word)
            word = ""
        else:
            word += char
    return [*words, word]


def _is_upper(char: str) -> bool:
    return "A" <= char <= "Z"


def _is_lower(char: str) -> bool:
    return "a" <= char <= "z"


def _same(value: Any) -> Any:
    return value
