#!/usr/bin/python
"""Apply one ConfigMap that belongs to the resource of the pass: all that these tests need of a cluster."""

from ansible.module_utils.basic import AnsibleModule
from kubernetes import client, config, dynamic


def main():
    module = AnsibleModule({"owner": {"type": "dict"}, "data": {"type": "dict"}})
    owner, data = module.params["owner"], module.params["data"]
    config.load_config()
    meta = owner["metadata"]
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
    }
    name, namespace = f"{meta['name']}-owned", meta["namespace"]
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "ownerReferences": [reference]},
        "data": {key: str(value) for key, value in data.items()},
    }
    with client.ApiClient() as api:
        dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap").server_side_apply(
            body=body, name=name, namespace=namespace, field_manager="runner-test", force_conflicts=True
        )
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
