"""Builds the project's container images, with or without a container engine or an image registry."""
