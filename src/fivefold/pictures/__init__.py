"""Pictures of any size that are noisy to begin with."""
