"""The tools that a user would otherwise pick, at their sensible defaults."""
