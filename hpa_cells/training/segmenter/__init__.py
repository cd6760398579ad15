"""Training of the segmenter: fields with known cells or nuclei, crops of them, the loss, the training module."""
