"""The Kubernetes API: requests, watches, leases, events and the status of resources."""
