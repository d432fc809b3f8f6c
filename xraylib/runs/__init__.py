"""One run and many: parameters, profiles, the folder of a run, tables over runs, grids of them."""
