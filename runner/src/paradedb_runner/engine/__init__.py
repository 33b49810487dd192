"""Running Ansible."""
