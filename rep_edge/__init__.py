"""rep-edge: classifiers that keep working on a device while its sensors come and go."""

__version__ = "0.1.0"
