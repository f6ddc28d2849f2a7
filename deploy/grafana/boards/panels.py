"""The kinds of panel that the dashboards are made of.

Every function takes what a panel must say besides its number: `about` (what it means, what is normal, what to do),
`unit`, and `empty` (why it may show nothing). Widths are in the grid's 24 columns; each line of panels fills them.
"""

from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, statetimeline
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = options.DataSourceRef(type_val="prometheus", uid="$datasource")

NAME, VALUE_AND_NAME = options.BigValueTextMode.NAME, options.BigValueTextMode.VALUE_AND_NAME
GREEN, YELLOW, ORANGE, RED, BLUE, GREY, PURPLE = "green", "yellow", "orange", "red", "blue", "#8e8e8e", "purple"

Panel = (
    stat.Panel | lines.Panel | heatmap.Panel | tables.Panel | bargauge.Panel | statetimeline.Panel
)  # what a dashboard takes
Kind = TypeVar("Kind", stat.Panel, lines.Panel, heatmap.Panel, tables.Panel, bargauge.Panel, statetimeline.Panel)
Steps = tuple[str, *tuple[tuple[float, str], ...]]  # a colour, then from where on it is another: (GREEN, (0.05, RED))


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and what its series are called; with `exemplars`, single requests are shown beside it."""

    expression: str
    legend: str = ""
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column: the label or value it shows, its heading, and how to show it."""

    field: str
    heading: str
    unit: str | None = None
    steps: Steps | None = None
    decimals: int | None = None
    width: int | None = None
    link: str | None = None  # a URL; ${__value.raw} is the cell


Queries = Query | list[Query]


def single(
    id: int,
    title: str,
    queries: Queries,
    *,
    about: str,
    unit: str,
    empty: str,
    steps: Steps,
    width: int = 4,
    decimals: int | None = None,
    sparkline: bool = False,
    words: dict[str, tuple[str, str]] | None = None,
    text: options.BigValueTextMode = options.BigValueTextMode.AUTO,
    others: dict[str, Steps] | None = None,
    units: dict[str, str] | None = None,
) -> stat.Panel:
    """One number (or one for each series), coloured by `steps`.

    It is asked for now, unless it has a sparkline: that needs the range, of which the last value is shown.

    Args:
        words: what to write instead of a value, and in which colour.
        text: whether to write the value, its name, or both; by itself, both where there are several.
        others: steps of single series, by their names.
        units: of series, by a regular expression over their names.
    """
    panel = (
        stat.Panel()
        .graph_mode(options.BigValueGraphMode.AREA if sparkline else options.BigValueGraphMode.NONE)
        .color_mode(options.BigValueColorMode.VALUE)
        .text_mode(text)
        .reduce_options(_last())
    )
    panel = _dress(panel, id, title, queries, about, unit, empty, width, 4, instant=not sparkline)
    panel = panel.thresholds(thresholds(steps)).color_scheme(_color(model.FieldColorModeId.THRESHOLDS))
    for name, own in (others or {}).items():
        panel = panel.override_by_name(name, [model.DynamicConfigValue("thresholds", thresholds(own).build())])
    return _worded(_measured(panel, units), words, decimals)


def series(
    id: int,
    title: str,
    queries: Queries,
    *,
    about: str,
    unit: str,
    empty: str,
    width: int = 12,
    height: int = 8,
    limits: Steps | None = None,
    stacked: bool = False,
    bars: bool = False,
    every: str | None = None,
    decimals: int | None = None,
    zero: bool = True,
    top: float | None = None,
    colours: dict[str, str] | None = None,
    below: str | None = None,
    units: dict[str, str] | None = None,
) -> lines.Panel:
    """Lines (or bars) over time.

    Args:
        limits: drawn as dashed lines where a colour begins.
        every: the least distance of two points, such as "1d".
        zero: whether the axis begins at 0.
        top: where the axis ends.
        colours: of series, by a regular expression over their names.
        below: a regular expression over the names of series to draw downwards.
        units: of series, by a regular expression over their names.
    """
    panel = (
        lines.Panel()
        .draw_style(options.GraphDrawStyle.BARS if bars else options.GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(80 if bars else 10)
        .show_points(options.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(options.LegendDisplayMode.LIST)
            .placement(options.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(_tooltip(options.TooltipDisplayMode.MULTI))
        .color_scheme(_color(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    )
    panel = _dress(panel, id, title, queries, about, unit, empty, width, height)
    if limits:
        style = common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(thresholds(("transparent", *limits[1:]))).thresholds_style(style)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A")).fill_opacity(
            80 if bars else 30
        )
    if zero:
        panel = panel.axis_soft_min(0)
    if every:
        panel = panel.interval(every)
    if top is not None:
        panel = panel.max(top)
    if decimals is not None:
        panel = panel.decimals(decimals)
    for pattern, colour in (colours or {}).items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        panel = panel.override_by_regexp(pattern, [model.DynamicConfigValue("color", fixed)])
    if below:
        panel = panel.override_by_regexp(below, [model.DynamicConfigValue("custom.transform", "negative-Y")])
    return _measured(panel, units)


def heat(
    id: int,
    title: str,
    query: Query,
    *,
    about: str,
    unit: str,
    empty: str,
    width: int = 12,
    height: int = 8,
    every: str | None = None,
) -> heatmap.Panel:
    """How a histogram's observations are spread over its buckets, over time; `unit` is that of the buckets."""
    panel = (
        heatmap.Panel()
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .fill(ORANGE)
            .exponent(0.5)
            .steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .tooltip(heatmap.HeatmapTooltip().mode(options.TooltipDisplayMode.SINGLE).y_histogram(True))
        .show_legend()
    )
    panel = _dress(panel, id, title, query, about, unit, empty, width, height, form=PromQueryFormat.HEATMAP)
    return panel.interval(every) if every else panel


def table(
    id: int,
    title: str,
    queries: Queries,
    columns: list[Column],
    *,
    about: str,
    empty: str,
    sort: str,
    ascending: bool = False,
    width: int = 12,
    height: int = 8,
) -> tables.Panel:
    """Rows of now, sorted by the heading `sort`; several queries are merged by the labels that they share.

    A column's field is a label, or `Value` (with several queries `Value #A`, `Value #B`, …).
    """
    panel = (
        tables.Panel()
        .show_header(True)
        .cell_height(options.TableCellHeight.SM)
        .sort_by([common.TableSortByFieldState().display_name(sort).desc(not ascending)])
    )
    form = PromQueryFormat.TABLE
    panel = _dress(panel, id, title, queries, about, "short", empty, width, height, instant=True, form=form)
    headings = {column.field: column.heading for column in columns}
    if isinstance(queries, list):
        panel = panel.with_transformation(model.DataTransformerConfig("merge", options={}))
        headings["Value"] = headings["Value #A"]  # so Grafana calls it where the other queries found nothing
    fields = list(headings)
    panel = panel.with_transformation(
        model.DataTransformerConfig("filterFieldsByName", options={"include": {"names": fields}})
    )
    order = {
        "indexByName": {field: index for index, field in enumerate(fields)},
        "renameByName": headings,
        "excludeByName": {},
    }
    panel = panel.with_transformation(model.DataTransformerConfig("organize", options=order))
    for column in columns:
        panel = panel.override_by_name(column.heading, _cells(column))
    return panel


def ranking(
    id: int,
    title: str,
    queries: Queries,
    *,
    about: str,
    unit: str,
    empty: str,
    steps: Steps = (BLUE,),
    width: int = 12,
    height: int = 8,
    decimals: int | None = None,
) -> bargauge.Panel:
    """One bar for each series of now, in the order in which the query gives them."""
    panel = (
        bargauge.Panel()
        .orientation(options.VizOrientation.HORIZONTAL)
        .display_mode(options.BarGaugeDisplayMode.BASIC)
        .value_mode(options.BarGaugeValueMode.TEXT)
        .name_placement(options.BarGaugeNamePlacement.LEFT)
        .show_unfilled(False)
        .reduce_options(_last())
    )
    panel = _dress(panel, id, title, queries, about, unit, empty, width, height, instant=True)
    panel = panel.min(0).thresholds(thresholds(steps)).color_scheme(_color(model.FieldColorModeId.THRESHOLDS))
    return panel if decimals is None else panel.decimals(decimals)


def states(
    id: int,
    title: str,
    queries: Queries,
    *,
    about: str,
    empty: str,
    words: dict[str, tuple[str, str]],
    width: int = 12,
    height: int = 8,
) -> statetimeline.Panel:
    """A band for each series that shows over time in which state it was; `words` name and colour each value."""
    panel = (
        statetimeline.Panel()
        .merge_values(True)
        .show_value(options.VisibilityMode.NEVER)
        .row_height(0.8)
        .legend(common.VizLegendOptions().show_legend(True))
        .tooltip(_tooltip(options.TooltipDisplayMode.SINGLE))
    )
    panel = _dress(panel, id, title, queries, about, "none", empty, width, height)
    panel = panel.color_scheme(_color(model.FieldColorModeId.THRESHOLDS))
    return _worded(panel, words, None)


def thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    """Where a value begins to have another colour."""
    first, *others = steps
    found = [model.Threshold(value=None, color=first)]
    found += [model.Threshold(value=bound, color=colour) for bound, colour in others]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)


def _dress(
    panel: Kind,
    id: int,
    title: str,
    queries: Queries,
    about: str,
    unit: str,
    empty: str,
    width: int,
    height: int,
    *,
    instant: bool = False,
    form: PromQueryFormat = PromQueryFormat.TIME_SERIES,
) -> Kind:
    panel = panel.id(id).title(title).description(about).unit(unit).no_value(empty).span(width).height(height)
    panel = panel.datasource(DATASOURCE)
    for letter, query in zip("ABCDEFGHIJ", queries if isinstance(queries, list) else [queries], strict=False):
        target = (
            prometheus.Dataquery()
            .ref_id(letter)
            .datasource(DATASOURCE)
            .expr(query.expression)
            .legend_format(query.legend or title)
            .format(form)
        )
        if query.exemplars:
            target = target.exemplar(True)
        panel = panel.with_target(target.instant() if instant else target.range())
    return panel


def _measured(panel: Kind, units: dict[str, str] | None) -> Kind:
    for pattern, unit in (units or {}).items():
        panel = panel.override_by_regexp(pattern, [model.DynamicConfigValue("unit", unit)])
    return panel


def _worded(panel: Kind, words: dict[str, tuple[str, str]] | None, decimals: int | None) -> Kind:
    if words:
        results = {
            value: model.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(words.items())
        }
        panel = panel.mappings([model.ValueMap(options=results)])
    return panel if decimals is None else panel.decimals(decimals)


def _cells(column: Column) -> list[model.DynamicConfigValue]:
    found: dict[str, object] = {"noValue": "–"}  # of one cell, where the other queries have a row
    if column.unit:
        found["unit"] = column.unit
    if column.decimals is not None:
        found["decimals"] = column.decimals
    if column.width is not None:
        found["custom.width"] = column.width
    if column.steps:
        found["thresholds"] = thresholds(column.steps).build()
        found["color"] = {"mode": "thresholds"}
        found["custom.cellOptions"] = {"type": "color-text"}
    if column.link:
        found["links"] = [{"title": "Show only this", "url": column.link}]
    return [model.DynamicConfigValue(name, value) for name, value in found.items()]


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().values(False).calcs(["lastNotNull"]).fields("")


def _color(mode: model.FieldColorModeId) -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(mode)


def _tooltip(mode: options.TooltipDisplayMode) -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(mode).sort(options.SortOrder.DESCENDING)
