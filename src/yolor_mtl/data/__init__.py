"""Reading, drawing and augmenting pictures and their labels; batches out."""
