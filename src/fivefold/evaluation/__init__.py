"""Measuring the five jobs, and the report."""
