"""The standard's vocabulary: references, digests, descriptors, manifests. No I/O."""
