"""Loss landscapes in parameter space: surfaces of the clean and the adversarial loss, and their curvature.

A file is a measurement of a trained run when it defines a function of its own name that takes ``run`` (or ``runs``, a
comparison); the other files are the pure functions they are made of, and can be used on any model.
"""
