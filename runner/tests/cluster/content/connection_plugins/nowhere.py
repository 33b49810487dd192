"""A connection to a host that does not answer."""

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: nowhere
short_description: to a host that does not answer
description: Fails.
author: nobody
options: {}
"""


class Connection(ConnectionBase):
    """Every use fails as an unreachable host does."""

    transport = "nowhere"

    def _connect(self):
        raise AnsibleConnectionFailure("nobody answers")

    def exec_command(self, cmd, in_data=None, sudoable=True):
        self._connect()

    def put_file(self, in_path, out_path):
        self._connect()

    def fetch_file(self, in_path, out_path):
        self._connect()

    def close(self):
        pass
