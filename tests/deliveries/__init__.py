"""Synthetic deliveries as operators ship them, valid and malformed; one module per family, one function per delivery."""
