//! Line charts as SVG.

use std::fmt::Write;

/// One line of a chart.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    /// Expectations are dashed.
    pub dashed: bool,
    /// Lines that belong together have the same colour.
    pub colour: usize,
    pub points: Vec<(f64, f64)>,
}

/// A chart with a logarithmic x axis and a y axis from 0 to `top`.
#[derive(Clone, Debug)]
pub struct Chart {
    pub title: String,
    pub x: String,
    pub y: String,
    pub top: f64,
    pub lines: Vec<Line>,
}

const COLOURS: [&str; 6] = [
    "#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b8860b", "#555555",
];
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
/// Left, right, top, bottom.
const MARGIN: [f64; 4] = [64.0, 200.0, 40.0, 56.0];

impl Chart {
    /// The picture.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        let (low, high) = self.decades();
        let (left, right) = (MARGIN[0], WIDTH - MARGIN[1]);
        let (top, bottom) = (MARGIN[2], HEIGHT - MARGIN[3]);
        let x = |value: f64| {
            let share = (value.max(1e-9).log10() - low) / (high - low);
            left + share.clamp(0.0, 1.0) * (right - left)
        };
        let y = |value: f64| bottom - (value / self.top).clamp(0.0, 1.0) * (bottom - top);
        // Nothing that is written to a String fails.
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{left}\" y=\"24\" font-size=\"16\">{}</text>\n",
            escaped(&self.title)
        );
        for decade in low as i32..=high as i32 {
            let value = 10f64.powi(decade);
            let at = x(value);
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#ddd\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>",
                bottom + 18.0
            );
        }
        for step in 0..=5 {
            let value = self.top * f64::from(step) / 5.0;
            let at = y(value);
            let _ = writeln!(
                svg,
                "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.1}</text>",
                left - 6.0,
                at + 4.0
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            HEIGHT - 14.0,
            escaped(&self.x),
            (top + bottom) / 2.0,
            escaped(&self.y)
        );
        for (at, line) in self.lines.iter().enumerate() {
            draw(
                &mut svg,
                line,
                &x,
                &y,
                (right + 12.0, top + 12.0 + 19.0 * at as f64),
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// The powers of ten that enclose all x values, as exponents.
    fn decades(&self) -> (f64, f64) {
        let values = self
            .lines
            .iter()
            .flat_map(|line| &line.points)
            .map(|point| point.0);
        let positive: Vec<f64> = values.filter(|value| *value > 0.0).collect();
        let low = positive.iter().copied().fold(f64::INFINITY, f64::min);
        let high = positive.iter().copied().fold(0.0, f64::max);
        if high <= 0.0 {
            return (0.0, 1.0);
        }
        let low = low.log10().floor();
        (low, high.log10().ceil().max(low + 1.0))
    }
}

fn draw(
    svg: &mut String,
    line: &Line,
    x: &dyn Fn(f64) -> f64,
    y: &dyn Fn(f64) -> f64,
    legend: (f64, f64),
) {
    let colour = COLOURS[line.colour % COLOURS.len()];
    let dash = if line.dashed {
        " stroke-dasharray=\"6 4\""
    } else {
        ""
    };
    let points: Vec<String> = line
        .points
        .iter()
        .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
        .collect();
    let style = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"{dash}");
    let _ = writeln!(svg, "<polyline points=\"{}\" {style}/>", points.join(" "));
    let (at, height) = legend;
    let _ = writeln!(
        svg,
        "<path d=\"M{at} {height}h26\" {style}/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        at + 32.0,
        height + 4.0,
        escaped(&line.name)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_drawn_inside() {
        let line = Line {
            name: "a < b".into(),
            dashed: true,
            colour: 0,
            points: vec![(0.1, 0.0), (1.0, 0.5), (50.0, 2.0)],
        };
        let chart = Chart {
            title: "t".into(),
            x: "seconds".into(),
            y: "share".into(),
            top: 1.0,
            lines: vec![line],
        };
        assert_eq!(chart.decades(), (-1.0, 2.0));
        let svg = chart.svg();
        assert!(
            svg.contains("points=\"64.0,424.0 262.7,232.0 600.2,40.0\""),
            "{svg}"
        );
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
    }
}
