"""Pictures of any size of good parts, to find what is wrong with others."""
