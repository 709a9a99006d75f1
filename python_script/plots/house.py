"""How every plot looks: colours that people with any eyesight can tell apart, no frame, few lines."""

from plotnine import element_blank, element_line, element_text, theme, theme_minimal

COLOURS = ("#8a8f98", "#1f6fb4", "#c4622d", "#3c8d5a", "#8a5aa8", "#b8912f")
"""Of models in their order: the base is grey, so that what was made of it stands out."""
DEEP = "#1f6fb4"


def house(width=8, height=4.5):
    """The theme; size in inches."""
    return theme_minimal(base_size=10) + theme(
        figure_size=(width, height),
        dpi=120,
        panel_grid_minor=element_blank(),
        panel_grid_major_y=element_blank(),
        panel_grid_major_x=element_line(color="#e3e5e8"),
        plot_title=element_text(size=11, weight="bold", ha="left"),
        plot_subtitle=element_text(size=9, color="#5b6068"),
        legend_position="top",
        legend_title=element_blank(),
        strip_text=element_text(size=9, weight="bold", ha="left"),
    )
