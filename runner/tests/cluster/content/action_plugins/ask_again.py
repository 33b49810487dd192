"""Ask for another pass after some seconds."""

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Any result with ``requeue_after`` asks."""

    def run(self, tmp=None, task_vars=None):
        return super().run(tmp, task_vars) | {"requeue_after": self._task.args["after"]}
