"""One file per builtin study, found by its name: the module `nbody` gives the study "nbody" as `study`."""
