"""Architecture: the layers of a network as they are declared, and what shape each makes of the one before.

`layers` holds one class for each kind of layer, `notation` reads them from a model file, `plan` fills in all widths.
Nothing here needs JAX: that a network fits its data is known before any of it is loaded.
"""
