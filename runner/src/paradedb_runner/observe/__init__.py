"""What the runner tells about itself: metrics and probes."""
