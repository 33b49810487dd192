"""The variables of a run."""

import pytest
from paradedb_runner.control.parameters import extra_vars, resource_variable, snake_case, snake_keys, unsafe
from paradedb_runner.kube.objects import GroupVersionKind, Key

KEY = Key(GroupVersionKind("db.example-corp.com", "v1", "BigBase"), "ns", "one")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("size", "size"),
        ("storageClassName", "storage_class_name"),
        ("already_snake_case", "already_snake_case"),
        ("with-dash and space", "with_dash_and_space"),
        ("kebab-case-name", "kebab_case_name"),
        ("trailing_", "trailing_"),
        ("Leading", "_leading"),
        ("_private", "_private"),
        ("_MixedUp_nameParts", "_mixed_up_name_parts"),
        ("x", "x"),
        ("X", "_x"),
        ("aB", "ab"),
        ("ABc", "_a_bc"),
        ("pgHBA", "pg_hba"),
        ("ownerUID", "owner_uid"),
        ("XMLData", "_xml_data"),
        ("enableTLSCerts", "enable_tls_certs"),
        ("dnsTTLSeconds", "dns_ttl_seconds"),
        ("IDs", "_i_ds"),
        ("userIDs", "user_i_ds"),
        ("podCIDRs", "pod_cid_rs"),
        ("node1Count", "node1_count"),
        ("ipv4Address", "ipv4_address"),
        ("a1b2", "a_1_b2"),
        ("a1B2", "a_1_b2"),
        ("v1alpha1", "v1alpha1"),
        ("s3Bucket", "s3_bucket"),
        ("http2Enabled", "http2_enabled"),
        ("int32Value", "int32_value"),
        ("123", "123"),
        ("9lives", "9lives"),
        ("clusterIP", "cluster_ip"),
        ("clusterIPs", "cluster_ips"),
        ("clusterIPsFamily", "cluster_ips_family"),
        ("clusterIPsfamily", "cluster_ips_family"),
        ("IPsallowed", "_ips_allowed"),
        ("IPAllowed", "ip_allowed"),
        ("externalIPPolicy", "external_ip_policy"),
        ("ShipIt", "_ship_it"),
        ("baseURLPath", "base_url_path"),
        ("imageURLs", "image_urls"),
        ("URLs", "__urls"),
        ("HTTPportURL", "http_port_url"),
        ("HTTPSProxy", "http_s_proxy"),
        ("httpURLAndIP", "http_url_and_ip"),
        ("ALL_UPPER_IP", "_all_upper__ip"),
        ("ALLUPPER", "_allupper"),
        ("naïveKey", "naïve_key"),
        ("dotted.keyName", "dotted.key_name"),
        ("IP", "__ip"),
        ("BACKUP_URL", "_backup__url"),
        ("IPBlock", "ip_block"),
        ("", ""),
    ],
)
def test_snake_case_as_ansible_operator_converts(name, expected):
    assert snake_case(name) == expected


def test_snake_case_reaches_into_lists_and_leaves_values_alone():
    spec = {"outerKey": [{"innerKey": "someValue"}], "plain": {"deepKey": None}}
    assert snake_keys(spec) == {"outer_key": [{"inner_key": "someValue"}], "plain": {"deep_key": None}}


def test_resource_variable_names():
    assert resource_variable(KEY) == "_db_example_corp_com_bigbase"
    assert resource_variable(Key(GroupVersionKind("", "v1", "Secret"), "ns", "s")) == "__secret"


def make(obj, **options):
    defaults = {"snake_case": True, "mark_unsafe": False, "variables": {}}
    return extra_vars(KEY, obj, **(defaults | options))


def test_the_resource_is_passed_whole_and_unchanged():
    obj = {"metadata": {"name": "one"}, "spec": {"sizeOf": 1}}
    variables = make(obj)
    assert variables["_db_example_corp_com_bigbase"] == obj
    assert variables["_db_example_corp_com_bigbase_spec"] == {"sizeOf": 1}
    assert variables["size_of"] == 1
    assert variables["ansible_operator_meta"] == {"name": "one", "namespace": "ns"}


def test_keys_stay_as_they_are_if_the_watch_says_so():
    assert make({"spec": {"sizeOf": 1}}, snake_case=False)["sizeOf"] == 1


@pytest.mark.parametrize(
    "obj", [{"metadata": {}}, {"metadata": {}, "spec": None}, {"metadata": {}, "spec": []}]
)
def test_a_missing_spec_is_an_empty_one_everywhere(obj):
    variables = make(obj)
    assert variables["_db_example_corp_com_bigbase_spec"] == {}
    assert variables["_db_example_corp_com_bigbase"] == {"metadata": {}, "spec": {}}


def test_the_order_in_which_variables_win():
    """Of each pair, the one that ansible-operator lets win: spec, meta, resource, vars, finalizer's vars."""
    name = "_db_example_corp_com_bigbase"
    obj = {"spec": {name: "spec", f"{name}_spec": "spec", "ansible_operator_meta": "spec"}}
    variables = make(obj)
    assert variables[name] == obj
    assert variables[f"{name}_spec"] == obj["spec"]
    assert variables["ansible_operator_meta"] == {"name": "one", "namespace": "ns"}
    assert make(obj, variables={name: "vars"})[name] == "vars"
    assert make(obj, variables={name: "vars"}, finalizer_variables={name: "last"})[name] == "last"


def test_later_variables_win():
    obj = {"spec": {"ansibleOperatorMeta": "spoofed", "state": "from spec", "only": "spec"}}
    variables = make(obj, variables={"state": "from vars", "x": 1}, finalizer_variables={"x": 2})
    assert variables["ansible_operator_meta"] == {"name": "one", "namespace": "ns"}
    assert (variables["state"], variables["only"], variables["x"]) == ("from vars", "spec", 2)


def test_mark_unsafe_wraps_strings_of_the_resource_but_not_of_the_watch():
    obj = {"spec": {"a": "{{ evil }}", "n": 1, "list": ["x", {"k": "y"}]}}
    variables = make(obj, mark_unsafe=True, variables={"t": "{{ good }}"})
    assert variables["a"] == {"__ansible_unsafe": "{{ evil }}"}
    assert variables["n"] == 1
    assert variables["t"] == "{{ good }}"
    assert variables["_db_example_corp_com_bigbase"]["spec"]["list"] == unsafe(["x", {"k": "y"}])
