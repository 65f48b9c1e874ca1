"""Predict and explain impressions of new faces, and compare a study with its replication."""
