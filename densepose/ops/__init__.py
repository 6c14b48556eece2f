"""Operators with the values of their torch / torchvision originals, faster where they are used.

``accelerate(model)`` swaps them in; parameter names and checkpoints stay as they are.
"""
