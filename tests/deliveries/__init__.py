"""Synthetic deliveries as operators ship them, valid and malformed: a module for a family, a function for each."""
