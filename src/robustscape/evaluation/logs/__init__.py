"""Measurements that read the logs of training and pass nothing through a model."""
