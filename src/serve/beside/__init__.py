"""Processes beside the server, where what is heavy runs: vectors, sentence models, classifiers."""
