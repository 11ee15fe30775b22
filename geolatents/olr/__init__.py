"""Occlusion-based latent representations: classifier, Siamese network, agreement of label matrices."""
