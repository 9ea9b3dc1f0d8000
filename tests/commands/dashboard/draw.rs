//! Panels of a dashboard as a picture (SVG), where Grafana has them.

use std::fmt::Write;

use serde_json::Value;

/// Of the dashboard's grid, which has 24 columns.
const COLUMN: f64 = 50.0;
const ROW: f64 = 26.0;
const GAP: f64 = 8.0;

const COLOURS: [&str; 8] = [
    "#2a7f3f", "#c77700", "#2b62b8", "#b3261e", "#7a3fa0", "#00838f", "#6d4c41", "#546e7a",
];

/// One line: seconds since the beginning, and values.
pub struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

pub struct Panel {
    pub title: String,
    unit: String,
    is_stat: bool,
    /// Columns and rows: left, top, width, height.
    place: [f64; 4],
    series: Vec<Series>,
}

impl Series {
    /// As Prometheus answers a query over a range.
    pub fn of(result: &Value, legend: &str, start: f64) -> Self {
        let mut name = legend.to_owned();
        for (label, value) in result["metric"].as_object().unwrap() {
            name = name.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap());
        }
        let point = |pair: &Value| {
            let value: f64 = pair[1].as_str()?.parse().ok()?;
            value
                .is_finite()
                .then_some((pair[0].as_f64()? - start, value))
        };
        let points = result["values"].as_array().unwrap().iter();
        Self {
            name,
            points: points.filter_map(point).collect(),
        }
    }
}

impl Panel {
    pub fn of(panel: &Value, series: Vec<Series>) -> Self {
        let place = &panel["gridPos"];
        Self {
            title: panel["title"].as_str().unwrap().to_owned(),
            unit: panel["fieldConfig"]["defaults"]["unit"]
                .as_str()
                .unwrap_or("short")
                .to_owned(),
            is_stat: panel["type"] == "stat",
            place: ["x", "y", "w", "h"].map(|side| place[side].as_f64().unwrap()),
            series,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
    }

    fn draw(&self, svg: &mut String, seconds: f64) {
        let [left, top, width, height] = self.place;
        let (left, top) = (left * COLUMN + GAP, top * ROW + GAP);
        let (width, height) = (width * COLUMN - GAP, height * ROW - GAP);
        let title = escape(&self.title);
        writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"3\" \
             fill=\"#ffffff\" stroke=\"#d8dbe0\"/>\n<text x=\"{}\" y=\"{}\" \
             font-weight=\"bold\">{title}</text>",
            left + 10.0,
            top + 18.0,
        )
        .unwrap();
        if self.is_stat {
            let last = self
                .series
                .iter()
                .max_by_key(|series| series.points.last().map_or(0, |(time, _)| *time as u64));
            let text = last.map_or_else(String::new, |series| {
                let (_, value) = series.points.last().unwrap();
                match series.name.as_str() {
                    "share" | "pushes" => shown(*value, &self.unit),
                    name => name.to_owned(),
                }
            });
            writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" font-size=\"30\" text-anchor=\"middle\" \
                 fill=\"{}\">{}</text>",
                left + width / 2.0,
                top + height / 2.0 + 20.0,
                COLOURS[0],
                escape(&text),
            )
            .unwrap();
            return;
        }
        self.lines(
            svg,
            [left + 62.0, top + 30.0, width - 76.0, height - 72.0],
            seconds,
        );
        let mut at = left + 10.0;
        for (series, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let y = top + height - 10.0;
            writeln!(
                svg,
                "<rect x=\"{at}\" y=\"{}\" width=\"10\" height=\"4\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"{y}\" font-size=\"11\">{}</text>",
                y - 6.0,
                at + 14.0,
                escape(&series.name),
            )
            .unwrap();
            at += 30.0 + 6.3 * series.name.len() as f64;
        }
    }

    /// The curves with their axes.
    fn lines(&self, svg: &mut String, [left, top, width, height]: [f64; 4], seconds: f64) {
        let values = self.series.iter().flat_map(|series| &series.points);
        let highest = values.map(|(_, value)| *value).fold(0.0, f64::max);
        let highest = if highest > 0.0 { highest * 1.08 } else { 1.0 };
        let x = |time: f64| left + width * time / seconds;
        let y = |value: f64| top + height * (1.0 - value / highest);
        for part in [0.0, 0.5, 1.0] {
            let (value, time) = (highest * part, seconds * part);
            writeln!(
                svg,
                "<path d=\"M{left} {line}h{width}\" stroke=\"#e8eaed\"/>\
                 <text x=\"{}\" y=\"{}\" font-size=\"10\" text-anchor=\"end\" fill=\"#60646c\">{}</text>\
                 <text x=\"{}\" y=\"{}\" font-size=\"10\" text-anchor=\"middle\" \
                 fill=\"#60646c\">{time:.0} s</text>",
                left - 6.0,
                y(value) + 3.0,
                shown(value, &self.unit),
                x(time),
                top + height + 14.0,
                line = y(value),
            )
            .unwrap();
        }
        for (series, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let mut path = String::new();
            let mut before = f64::NEG_INFINITY;
            for (time, value) in &series.points {
                // A gap in the data is one in the curve.
                let letter = if time - before > 1.5 { 'M' } else { 'L' };
                write!(path, "{letter}{:.1} {:.1}", x(*time), y(*value)).unwrap();
                before = *time;
            }
            writeln!(
                svg,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" \
                 stroke-linecap=\"round\"/>"
            )
            .unwrap();
        }
    }
}

/// All panels, of so many seconds.
pub fn picture(panels: &[Panel], seconds: f64) -> String {
    let bottom = panels.iter().map(|panel| panel.place[1] + panel.place[3]);
    let height = bottom.fold(0.0, f64::max) * ROW + GAP;
    let width = 24.0 * COLUMN + GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#22252b\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#f4f5f7\"/>\n"
    );
    for panel in panels {
        panel.draw(&mut svg, seconds);
    }
    svg + "</svg>\n"
}

fn shown(value: f64, unit: &str) -> String {
    match unit {
        "reqps" => format!("{value:.1}/s"),
        "s" if value < 1.0 => format!("{:.1} ms", value * 1000.0),
        "s" => format!("{value:.0} s"),
        "bytes" => format!("{:.1} MiB", value / f64::from(1 << 20)),
        "percentunit" => format!("{:.1} %", value * 100.0),
        _ => format!("{value:.0}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
