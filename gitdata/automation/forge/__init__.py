"""Forges: workflow files that make a forge's runners retrain the declared models on a push.

A *pipeline* is what such files follow from: the models with the branches that deploy them, what a job installs, the
kind of store. `workflow` renders it, purely, from templates; `placing` puts the files into a work tree, and tells a
file that gitdata wrote from one that somebody else wrote, or changed.
"""
