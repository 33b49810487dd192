"""End the process that looks this up."""

import os
import signal

from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """It never returns."""

    def run(self, terms, variables=None, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)
