"""Plots in the grammar of graphics (plotnine, in the extras dev and notebook), in one style, for scripts and notebooks."""
