# Operator image: the runner with Ansible and the collection, and, frozen, what init containers copy into pods of the database
# image: Patroni in /opt/patroni, the backup program in /opt/backup. From stable to changing, so that a change of our sources rebuilds only the last layer.
#
# The secret mounts are optional: they bring a machine's own mirrors and certificate authorities into a build step and leave
# nothing in a layer (see tools/images).
ARG BASE=debian:trixie-slim

# Debian's Python, which the final image runs on. Precompiled by its package.
FROM ${BASE} AS python
RUN --mount=type=secret,id=sources,target=/etc/apt/sources.list.d/debian.sources,mode=0444 \
    --mount=type=secret,id=apt.conf,target=/etc/apt/apt.conf.d/90build,mode=0444 \
    --mount=type=secret,id=ca.crt,target=/run/build/ca.crt,mode=0444 \
    apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/log/*.log /var/log/apt

FROM python AS build
RUN --mount=type=secret,id=sources,target=/etc/apt/sources.list.d/debian.sources,mode=0444 \
    --mount=type=secret,id=apt.conf,target=/etc/apt/apt.conf.d/90build,mode=0444 \
    --mount=type=secret,id=ca.crt,target=/run/build/ca.crt,mode=0444 \
    apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
       binutils libpython3.13 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY images/operator/build.txt /build/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf,mode=0444 \
    --mount=type=secret,id=ca.crt,target=/run/build/ca.crt,mode=0444 \
    python3 -m venv /opt/build \
    && /opt/build/bin/pip install --quiet --require-hashes --requirement /build/build.txt

# Patroni as one folder that needs no Python where it runs. ydiff has no wheel: the pinned setuptools builds it.
FROM build AS patroni
COPY images/operator/patroni.txt /build/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf,mode=0444 \
    --mount=type=secret,id=ca.crt,target=/run/build/ca.crt,mode=0444 \
    python3 -m venv --without-pip /opt/freeze \
    && /opt/build/bin/pip --python /opt/freeze/bin/python install --quiet --require-hashes --requirement /build/build.txt \
    && /opt/build/bin/pip --python /opt/freeze/bin/python install --quiet --no-build-isolation \
       --require-hashes --only-binary :all: --no-binary ydiff --requirement /build/patroni.txt
COPY images/operator/patroni.spec images/operator/patroni_entry.py images/operator/patroni_environment.py /build/
RUN /opt/freeze/bin/pyinstaller --log-level WARN --distpath /opt/frozen --workpath /tmp/work /build/patroni.spec \
    && ln -s patroni /opt/frozen/patroni/patronictl \
    && /opt/frozen/patroni/patroni --version && /opt/frozen/patroni/patronictl version

# The backup program likewise. What it needs is installed without dependencies: see backup.in.
FROM build AS backup
COPY images/backup/backup.txt /build/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf,mode=0444 \
    --mount=type=secret,id=ca.crt,target=/run/build/ca.crt,mode=0444 \
    python3 -m venv --without-pip /opt/freeze \
    && /opt/build/bin/pip --python /opt/freeze/bin/python install --quiet --no-deps \
       --require-hashes --only-binary :all: --requirement /build/backup.txt
COPY images/backup/pyproject.toml /build/backup/
COPY images/backup/src /build/backup/src
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir /build/wheels /build/backup \
    && /opt/build/bin/pip --python /opt/freeze/bin/python install --quiet --no-deps --no-index /build/wheels/*.whl
COPY images/backup/backup.spec images/backup/entry.py images/operator/patroni_environment.py /build/
RUN /opt/freeze/bin/pyinstaller --log-level WARN --distpath /opt/frozen --workpath /tmp/work /build/backup.spec \
    && { /opt/frozen/backup/paradedb-backup || [ $? = 2 ]; }

# Everything from PyPI, precompiled, and kubernetes.core. Unchecked hashes: the image is read-only, so no file is newer than
# its compiled form, and start-up saves looking. kubernetes.aio, a second copy of the client that nothing here imports, is as
# large as all the rest and goes.
FROM build AS packages
COPY images/operator/requirements.txt /build/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf,mode=0444 \
    --mount=type=secret,id=ca.crt,target=/run/build/ca.crt,mode=0444 \
    python3 -m venv --without-pip /opt/venv \
    && /opt/build/bin/pip --python /opt/venv/bin/python install --quiet --no-compile \
       --require-hashes --only-binary :all: --requirement /build/requirements.txt \
    && cd /opt/venv/lib/python3.13/site-packages \
    && rm -rf ansible_test ansible_test-* kubernetes/aio && rm -f /opt/venv/bin/ansible-test \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && find . -name '*.so' -exec strip --strip-unneeded {} + \
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash .
COPY tools/images/paradedb_images/kubernetes_core.py /build/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf,mode=0444 \
    --mount=type=secret,id=ca.crt,target=/run/build/ca.crt,mode=0444 \
    /opt/build/bin/python /build/kubernetes_core.py /opt/ansible/collections

# The runner, laid out as it will be in the final image, and the part of the backup program that runs here: `remote`, which
# needs nothing but the packages above.
FROM build AS runner
COPY runner /build/runner
COPY images/backup/pyproject.toml /build/backup/
COPY images/backup/src /build/backup/src
RUN --mount=type=bind,from=packages,source=/opt/venv,target=/opt/venv \
    /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir /build/wheels /build/runner /build/backup \
    && /opt/build/bin/pip --python /opt/venv/bin/python install --quiet --no-deps --no-index --no-compile \
       --ignore-installed --root /out /build/wheels/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -s /out -p / /out/opt/venv

FROM python AS runtime
LABEL org.opencontainers.image.title="paradedb-operator" \
      org.opencontainers.image.description="Runs ParadeDB on Kubernetes: the operator, and Patroni and backups for its database pods" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-3.0-or-later" \
      org.opencontainers.image.vendor="paradedb.db"
RUN echo 'operator:x:65532:' >> /etc/group \
    && echo 'operator:x:65532:65532:operator:/tmp:/usr/sbin/nologin' >> /etc/passwd
# The root file system is read-only in a pod: HOME and Ansible's temporary files are in /tmp, the only place it writes to.
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ANSIBLE_COLLECTIONS_PATH=/opt/ansible/collections \
    ANSIBLE_ROLES_PATH=/opt/ansible/roles \
    ANSIBLE_HOME=/tmp/.ansible \
    ANSIBLE_LOCAL_TEMP=/tmp/.ansible/tmp
WORKDIR /opt/ansible
USER 65532:65532
ENTRYPOINT ["/opt/venv/bin/paradedb-runner", "run"]
COPY --from=patroni /opt/frozen/patroni /opt/patroni
COPY --from=backup /opt/frozen/backup /opt/backup
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /opt/ansible /opt/ansible
COPY --from=runner /out/opt/venv /opt/venv
# Not compiled: Ansible's loader of collections compiles from source and reads no compiled files.
COPY deploy/crd /opt/ansible/deploy/crd
COPY collections /opt/ansible/collections
COPY roles /opt/ansible/roles
COPY playbooks /opt/ansible/playbooks
COPY watches.yaml /opt/ansible/
