"""The API server as runs see it, where what they create gets its owner."""
