"""Stores that keep the contract of `evidence.store`, one module each."""
