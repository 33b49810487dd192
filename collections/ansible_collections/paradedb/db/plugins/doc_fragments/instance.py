"""Options that every module of this collection takes to say which ParadeDB it is about."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  name:
    description: Name of the ParadeDB.
    type: str
    required: true
  namespace:
    description: Namespace of the ParadeDB.
    type: str
    required: true
requirements:
  - python >= 3.11
  - kubernetes >= 31
notes:
  - The module speaks to the Kubernetes API only. On a local connection it runs inside the controller.
"""
