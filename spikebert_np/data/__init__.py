"""From text on disk to packed batches of token ids, and the teacher cache."""
