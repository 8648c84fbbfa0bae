"""One file per builtin study, found by its name: the module `nbody` gives the study "nbody" as `study`.

A dash in the name of a study is an underscore in that of its module.
"""
