"""Pictures of any size: archives of them, and the signal of those that are noisy to begin with."""
