"""The demo: one whole working day of an invented agency, driven through HTTP by reference phones and console clients."""
