"""What experiments are made with: images, nets, measures, pictures."""
