"""Dense annotations from sparse ones: the teacher, two simpler ways, and how good each is."""
