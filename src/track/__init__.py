"""Where numbers go: files and TensorBoard."""
