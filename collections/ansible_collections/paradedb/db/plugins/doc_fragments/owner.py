"""The option of the modules that make objects: who owns them."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  owner:
    description: The owner reference; empty when no resource owns the objects (one-off provisioning).
    type: dict
    default: {}
"""
