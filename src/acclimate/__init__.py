"""acclimate: an edge daemon that keeps open-vocabulary segmentation adapted to where it drives."""

__version__ = "0.1.0"
