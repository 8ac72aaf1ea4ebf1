"""Figures with sliders: move a constant, and see what it does.

ipywidgets, of the `notebooks` extra, makes the sliders. Where it is missing, or nobody is there to
move them (plain Python, a notebook that is run through), the picture of the defaults stands in.
"""

from functools import wraps
from typing import NamedTuple


class Sliders(NamedTuple):
    """What a notebook shows: sliders above a picture, or the picture alone."""

    draw: callable
    ranges: dict

    def _repr_png_(self):
        return self.draw()._repr_png_()

    def _repr_mimebundle_(self, include=None, exclude=None):
        """The sliders, beside the picture: a notebook takes the richer one that it can show."""
        try:
            from IPython import get_ipython

            # A kernel that may ask for no input, as under nbconvert, has nobody to ask.
            kernel = getattr(get_ipython(), "kernel", None)
            if not getattr(kernel, "_allow_stdin", True):
                return {}
            return self.widget()._repr_mimebundle_(include=include, exclude=exclude)
        except ImportError:
            return {}

    def widget(self):
        """A slider for each range, and the picture, drawn anew when one is moved."""
        from ipywidgets import Image, VBox, interactive

        image = Image(format="png")

        @wraps(self.draw)
        def redraw(**values):
            image.value, size = self.draw(**values)._repr_png_()
            image.layout.width = f"{size['width']}px"

        return VBox([interactive(redraw, **self.ranges), image])


def sliders(draw, **ranges):
    """`draw`, its arguments moved by sliders.

    draw: each argument has a default, where its slider stands at first; returns a `Picture`.
    ranges: for each argument (least, most) or (least, most, step); whole numbers stay whole.
    """
    return Sliders(draw, ranges)
