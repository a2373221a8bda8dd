"""The operators' commands and the composition root, the only part of the backend that knows both transports."""
