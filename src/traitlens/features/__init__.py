"""What the network sees: weights, preprocessing, backbone and taps.

Comes in: RGB pixels. Goes out: activations at the taps.
"""
