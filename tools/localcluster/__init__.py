"""A real one-node Kubernetes cluster for development and tests; see README.md."""
