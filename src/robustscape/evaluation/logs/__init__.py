"""Measurements that read the logs of training; nothing passes through a model."""
