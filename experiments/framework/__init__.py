"""What runs an experiment and writes down what came out, whichever it is."""
