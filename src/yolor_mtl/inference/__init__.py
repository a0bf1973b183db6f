"""Using a trained model: answers for pictures, and scores on a data set."""
