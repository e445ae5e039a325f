"""Training: steps, epochs, what is kept for resuming, and what follows."""
