"""The physics of the simulated source, one file per stage: classes, scene, acoustic, seismic, filters."""
