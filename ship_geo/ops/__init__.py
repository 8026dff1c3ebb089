"""Tensor functions without geography: modulation transfer, resampling, masks, moments."""
