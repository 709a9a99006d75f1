"""Serving a classifier: texts in, a class and its probability out, many requests at a time."""
