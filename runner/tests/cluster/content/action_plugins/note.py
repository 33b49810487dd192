"""Write a line into the journal of a resource, in Ansible's own process: a pass is to cost little."""

from pathlib import Path

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """``text`` is the line, ``journal`` the directory, ``name`` the resource."""

    def run(self, tmp=None, task_vars=None):
        arguments = self._task.args
        with Path(arguments["journal"], arguments["name"]).open("a") as journal:
            journal.write(f"{arguments['text']}\n")
        return super().run(tmp, task_vars) | {"changed": True}
