"""What watches tell becomes work, and work becomes passes."""
