"""The prepared dataset: splits, points, batches, augmentation."""
