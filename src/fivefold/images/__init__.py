"""Images: (n, h, w, c) arrays, image files and folders."""
