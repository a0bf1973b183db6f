"""A split's pictures and label maps in a few large tar files, here or at an address."""
