"""A Kubernetes controller that runs Ansible: one run per resource at a time, many resources at once."""

from paradedb_runner.version import VERSION

__version__ = VERSION
