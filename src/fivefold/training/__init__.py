"""Training with Lightning, which only the modules in here import."""
