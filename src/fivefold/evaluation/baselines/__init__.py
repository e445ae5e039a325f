"""What the publication compares the VAE with: the plain autoencoder and the GAN."""
