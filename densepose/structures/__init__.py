"""What travels between the rooms: annotations, network outputs, predictions. Shapes stand beside the fields."""
