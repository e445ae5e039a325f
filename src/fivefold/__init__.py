"""Fivefold: fit one variational autoencoder to your data; it compresses, generates, denoises, finds anomalies and
fills in missing values."""
