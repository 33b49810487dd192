# Sourced after setup.sh: a running cluster that has the project's images and the operator.
# shellcheck shell=bash

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

ensure_images() {
    python3 "$root/tools/images" build all
    local name
    for name in operator test-database test-database-17b; do
        python3 "$root/tools/localcluster" load-image "$(python3 "$root/tools/images" path "$name")"
    done
}

# The operator from this checkout. The same tag may stand for a new image, so the pods are made anew.
ensure_operator() {
    local checksum
    kube apply --server-side --force-conflicts -k "$root/deploy/local" >/dev/null
    checksum=$(sha256sum "$(python3 "$root/tools/images" path operator)" | cut -c1-16)
    kube -n paradedb-operator-system patch deployment paradedb-operator-controller-manager --type merge -p \
        "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"image-checksum\":\"$checksum\"}}}}}" >/dev/null
    kube -n paradedb-operator-system rollout status deployment/paradedb-operator-controller-manager --timeout=180s
}
