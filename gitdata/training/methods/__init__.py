"""Methods: ways to bring a model up to date, and the climb from one to the next.

Each has a module of its own, which says by which equation, at what cost, and what it needs: `prepare` is handed an
*occasion* and answers with *ingredients*: rows, steps, and what pulls at the weights. `running` carries that out, by
whatever way of training `driving` has for it.
"""

from gitdata.training.methods.climb import Outcome, Rung, ascent
from gitdata.training.methods.driving import climb, climb_together
from gitdata.training.methods.occasion import TrainingData
from gitdata.training.methods.running import Course

__all__ = ["Course", "Outcome", "Rung", "TrainingData", "ascent", "climb", "climb_together"]
