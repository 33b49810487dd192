# Sourced after setup.sh: a running cluster that has the project's images and the operator.
# shellcheck shell=bash

# Of tools/images; operator and pgbouncer are the product's, the others the tests'.
image_names=(operator pgbouncer test-database test-database-17b test-database-17-search test-prometheus test-s3)

# The local cluster, started if need be; KUBECONFIG is set to it.
ensure_cluster() {
    python3 "$root/tools/localcluster" start
    KUBECONFIG=$(python3 "$root/tools/localcluster" kubeconfig)
    export KUBECONFIG K8S_AUTH_KUBECONFIG=$KUBECONFIG
}

# kubectl of the machine, else the one that comes with the local cluster.
kube() {
    if command -v kubectl >/dev/null; then kubectl "$@"; else python3 "$root/tools/localcluster" kubectl "$@"; fi
}

# Whether the cluster is one that the user's KUBECONFIG names; to its nodes the tools have no way.
cluster_is_the_users() {
    [ -n "${KUBECONFIG:-}" ] || return 1
    [[ $(python3 "$root/tools/localcluster" status 2>/dev/null) == *"existing cluster: "* ]]
}

# Ends with what to do when the images cannot get into the cluster; asked before anything is built.
require_reachable_nodes() {
    if [ "${PARADEDB_IMAGES_READY:-}" = 1 ] || ! cluster_is_the_users; then
        return
    fi
    cat >&2 <<MESSAGE
KUBECONFIG names a cluster of yours ($KUBECONFIG), whose nodes these tools cannot give images to. Either
  - build the images: python3 tools/images build all
    bring the archives to every node: python3 tools/images path NAME tells where that of NAME is, for each of
    ${image_names[*]};
    on a node with containerd: ctr --namespace k8s.io images import ARCHIVE
    and set PARADEDB_IMAGES_READY=1; or
  - unset KUBECONFIG, to use a local cluster.
MESSAGE
    exit 1
}

ensure_images() {
    require_reachable_nodes
    if cluster_is_the_users; then
        step "not building: PARADEDB_IMAGES_READY=1 says that the nodes have the images"
        return
    fi
    python3 "$root/tools/images" build all
    local name
    for name in "${image_names[@]}"; do
        python3 "$root/tools/localcluster" load-image "$(python3 "$root/tools/images" path "$name")"
    done
}

# The operator from this checkout. The same tag may stand for a new image, so the pods are made anew.
ensure_operator() {
    local checksum
    kube apply --server-side --force-conflicts -k "$root/deploy/local" >/dev/null
    if cluster_is_the_users; then
        # Which image its nodes have is not known here.
        kube -n paradedb-operator-system rollout restart deployment/paradedb-operator-controller-manager >/dev/null
    else
        checksum=$(sha256sum "$(python3 "$root/tools/images" path operator)" | cut -c1-16)
        kube -n paradedb-operator-system patch deployment paradedb-operator-controller-manager --type merge -p \
            "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"image-checksum\":\"$checksum\"}}}}}" >/dev/null
    fi
    kube -n paradedb-operator-system rollout status deployment/paradedb-operator-controller-manager --timeout=180s
}
