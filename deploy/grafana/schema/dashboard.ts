// What a dashboard's JSON may say: Grafana's own types, down to the options of each kind of panel that we use.
import type * as grafana from "@grafana/schema";
import type * as bargauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as timeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// JSON knows no enums: where TypeScript has a string enum, the file has one of its values.
type Json<T> = 0 extends 1 & T
  ? T // any
  : T extends string
    ? `${T}`
    : T extends number | boolean | null | undefined
      ? T
      : T extends Array<infer Item>
        ? Array<Json<Item>>
        : T extends object
          ? { [Key in keyof T]: Json<T[Key]> }
          : T;

// The schema package leaves out the data sources' own parts; these are Prometheus'.
interface Query {
  datasource: { type: "prometheus"; uid: "$datasource" };
  exemplar?: boolean;
  expr: string;
  format: "time_series" | "table" | "heatmap";
  instant: boolean;
  legendFormat: string;
  range: boolean;
  refId: string;
}
interface Annotation extends grafana.AnnotationQuery {
  expr: string;
  step: string;
  tagKeys: string;
  textFormat: string;
  titleFormat: string;
  useValueForTime: boolean;
}

interface Kind<Type extends string, Options, Custom>
  extends Omit<grafana.Panel, "type" | "options" | "fieldConfig" | "targets"> {
  type: Type;
  options: Options;
  targets: Query[];
  fieldConfig: Omit<grafana.FieldConfigSource, "defaults"> & {
    defaults: Omit<grafana.FieldConfig, "custom"> & { custom?: Partial<Custom> };
  };
}
type Panel =
  | Kind<"bargauge", bargauge.Options, object>
  | Kind<"heatmap", heatmap.Options, heatmap.FieldConfig>
  | Kind<"stat", stat.Options, object>
  | Kind<"state-timeline", timeline.Options, timeline.FieldConfig>
  | Kind<"table", table.Options, table.FieldConfig>
  | Kind<"timeseries", timeseries.Options, timeseries.FieldConfig>;
interface Row extends Omit<grafana.RowPanel, "type"> {
  type: "row";
}

export type Dashboard = Json<
  Omit<grafana.Dashboard, "panels" | "annotations"> & {
    annotations: { list: Annotation[] };
    panels: Array<Panel | Row>;
  }
>;
