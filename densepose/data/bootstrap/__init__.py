"""Training on a teacher's predictions: images and videos without annotations, points from them.

No model is run here: the teacher is a function that the engine passes in.
"""
