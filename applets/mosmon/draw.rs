//! The picture: what is where on a screen of a given size. No terminal is needed to know it.

use super::figures::{Bar, Node, count};
use super::view::{HELP, Numbering, View};

/// How a character looks where there are colours. What it means can be seen without them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    #[default]
    Plain,
    /// Titles and the like.
    Strong,
    /// Bars: little, much, too much.
    Low,
    Middle,
    High,
    /// The part of a bar that is not used.
    Free,
    Dead,
}

/// A screen of characters.
pub struct Picture {
    pub columns: usize,
    pub rows: usize,
    cells: Vec<(char, Style)>,
    /// How many nodes have room.
    pub fits: usize,
}

impl Picture {
    fn new(columns: usize, rows: usize) -> Picture {
        Picture {
            columns,
            rows,
            cells: vec![(' ', Style::Plain); columns * rows],
            fits: 1,
        }
    }

    fn put(&mut self, column: usize, row: usize, text: &str, style: Style) {
        for (column, c) in (column..self.columns).zip(text.chars()) {
            if row < self.rows {
                self.cells[row * self.columns + column] = (c, style);
            }
        }
    }

    /// One row of it.
    pub fn row(&self, row: usize) -> &[(char, Style)] {
        &self.cells[row * self.columns..(row + 1) * self.columns]
    }
}

/// Columns left of the bars: the axis' numbers and the axis.
const MARGIN: usize = 8;
/// Least rows that are left for bars.
const LEAST_BARS: usize = 3;
const DEAD: [char; 4] = ['D', 'E', 'A', 'D'];

/// Where the nodes' columns are.
struct Layout {
    /// Columns of a node.
    width: usize,
    /// Rows of the numbers.
    number_rows: usize,
    fits: usize,
}

impl Layout {
    fn of(numbering: Numbering, columns: usize, digits: usize, nodes: usize) -> Layout {
        let room = columns.saturating_sub(MARGIN);
        let with = |width: usize, number_rows: usize| Layout {
            width,
            number_rows,
            fits: (room / width).max(1),
        };
        let (horizontal, vertical) = (with(digits + 1, 1), with(2, digits));
        match numbering {
            Numbering::Horizontal => horizontal,
            Numbering::Vertical => vertical,
            Numbering::Tight => with(1, digits),
            Numbering::Automatic if horizontal.fits < nodes && vertical.fits >= nodes => vertical,
            Numbering::Automatic => horizontal,
        }
    }
}

/// Draws it.
pub fn draw(view: &View, nodes: &[Node], columns: usize, rows: usize) -> Picture {
    let mut picture = Picture::new(columns, rows);
    let chosen = view.chosen(nodes);
    let highest = chosen.iter().map(|node| node.number).max().unwrap_or(1);
    let digits = highest.to_string().len();
    let layout = Layout::of(view.numbering, columns, digits, chosen.len());
    picture.fits = layout.fits;
    if view.help {
        for (row, line) in HELP.iter().enumerate() {
            picture.put(2, row + 1, line, Style::Plain);
        }
        return picture;
    }
    let first = view.first.min(chosen.len().saturating_sub(layout.fits));
    let end = (first + layout.fits).min(chosen.len());
    let visible = &chosen[first..end];
    // Title, bars, the axis, the numbers, what else there is to say.
    let below = layout.number_rows + 2;
    let bars = rows.saturating_sub(1 + below);
    picture.put(0, 0, view.shown.title(), Style::Strong);
    if bars < LEAST_BARS {
        picture.put(0, 1, "(the window is too small)", Style::Plain);
        return picture;
    }
    let top = scale(view, visible);
    axis(&mut picture, top, bars);
    for (index, node) in visible.iter().enumerate() {
        let column = MARGIN + index * layout.width;
        if layout.number_rows == 1 {
            let text = format!("{:>digits$}", node.number);
            picture.put(column, bars + 2, &text, Style::Plain);
        } else {
            let text = format!("{:>digits$}", node.number);
            for (row, digit) in text.chars().enumerate() {
                picture.put(column, bars + 2 + row, &digit.to_string(), Style::Plain);
            }
        }
        // The bar stands above its number's last digit.
        let column = column + layout.width.saturating_sub(2).min(digits - 1);
        let width = if layout.number_rows == 1 && digits > 1 {
            2
        } else {
            1
        };
        node_bar(
            &mut picture,
            view,
            node,
            (column + 1 - width, width),
            (bars, top),
        );
    }
    status(&mut picture, view, nodes, (first, end, chosen.len()));
    picture
}

/// The end of the axis: a round number that all bars fit below.
fn scale(view: &View, nodes: &[&Node]) -> f64 {
    let whole = |node: &&Node| node.figures.map(|figures| view.shown.bar(&figures).whole);
    let most = nodes.iter().filter_map(whole).fold(0.0, f64::max);
    round_up(most.max(view.shown.least_top()))
}

/// The next of 1, 1.5, 2, 3, 4, 5, 6, 8 and 10 times a power of ten.
fn round_up(number: f64) -> f64 {
    let power = 10f64.powf(number.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let step = steps
        .into_iter()
        .find(|step| step * power >= number * 0.999_999);
    step.unwrap_or(10.0) * power
}

fn axis(picture: &mut Picture, top: f64, bars: usize) {
    let labels = if bars >= 12 { 4 } else { 2 };
    for row in 0..bars {
        picture.put(MARGIN - 1, row + 1, "|", Style::Plain);
    }
    for label in 0..=labels {
        let value = top * label as f64 / labels as f64;
        let row = bars - (bars - 1) * label / labels;
        if label > 0 {
            let text = format!("{:>1$}", short(value), MARGIN - 2);
            picture.put(0, row, &text, Style::Plain);
        }
    }
    let line: String = std::iter::once('+')
        .chain(std::iter::repeat_n(
            '-',
            picture.columns.saturating_sub(MARGIN),
        ))
        .collect();
    picture.put(MARGIN - 2, bars + 1, "0", Style::Plain);
    picture.put(MARGIN - 1, bars + 1, &line, Style::Plain);
}

/// A number in at most six characters.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.0}k", v / 1e3),
        v if v >= 100.0 || v.fract() == 0.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn node_bar(
    picture: &mut Picture,
    view: &View,
    node: &Node,
    (column, width): (usize, usize),
    (bars, top): (usize, f64),
) {
    let mut cell = |from_below: usize, c: char, style: Style| {
        let text: String = std::iter::repeat_n(c, width).collect();
        picture.put(column, bars - from_below, &text, style);
    };
    let Some(figures) = node.figures.filter(|_| node.alive) else {
        let letters: &[char] = if node.alive { &['?'] } else { &DEAD };
        for (row, c) in letters.iter().rev().enumerate().take(bars) {
            cell(row, *c, Style::Dead);
        }
        return;
    };
    let Bar { solid, whole } = view.shown.bar(&figures);
    let height = |value: f64| {
        let rows = (value / top * bars as f64).round() as usize;
        // What is there at all is seen.
        rows.max(usize::from(value > 0.0)).min(bars)
    };
    let part = if whole > 0.0 && whole > solid {
        solid / whole
    } else {
        solid / top
    };
    let style = match part {
        part if part < 0.5 => Style::Low,
        part if part < 0.8 => Style::Middle,
        _ => Style::High,
    };
    for row in 0..height(whole) {
        let used = row < height(solid);
        cell(
            row,
            if used { '#' } else { '+' },
            if used { style } else { Style::Free },
        );
    }
}

fn status(
    picture: &mut Picture,
    view: &View,
    nodes: &[Node],
    (first, end, all): (usize, usize, usize),
) {
    let mut words = Vec::new();
    if end - first < all {
        words.push(format!("nodes {} to {end} of {all} (n, p)", first + 1));
    }
    // The manual shows the number of nodes with the speeds, if there is more than one.
    if view.count || (view.shown == super::figures::Shown::Speed && nodes.len() > 1) {
        words.push(count(nodes));
    }
    words.push("h: help".to_string());
    picture.put(0, picture.rows - 1, &words.join("   "), Style::Strong);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::figures::{Figures, Shown};
    use super::*;

    fn node(number: u32, load: u32) -> Node {
        Node {
            number,
            address: Ipv4Addr::from(0x0a00_0000 + number),
            alive: true,
            figures: Some(Figures {
                load,
                memory_used: 500,
                memory_total: 1000,
                cpus: 4,
                ..Figures::default()
            }),
        }
    }

    fn text(picture: &Picture) -> Vec<String> {
        (0..picture.rows)
            .map(|row| {
                let line: String = picture.row(row).iter().map(|(c, _)| *c).collect();
                line.trim_end().to_string()
            })
            .collect()
    }

    #[test]
    fn a_small_cluster_as_it_is_seen() {
        let mut nodes = vec![node(1, 200), node(2, 100), node(3, 0)];
        nodes.push(Node {
            alive: false,
            figures: None,
            ..node(4, 0)
        });
        let view = View {
            dead: true,
            ..View::default()
        };
        let expected = [
            "LOAD",
            "     2 |#",
            "       |#",
            "     1 |# #   D",
            "       |# #   E",
            "       |# #   A",
            "       |# #   D",
            "      0+----------------",
            "        1 2 3 4",
            "h: help",
        ];
        let mut drawn = text(&draw(&view, &nodes, 24, 10));
        // Half of six rows is not decided by rounding alone: the label stands where the bar of 1 ends, or next to it.
        assert_eq!(drawn.len(), 10);
        assert_eq!(drawn.remove(0), expected[0]);
        assert_eq!(drawn[0], expected[1]);
        assert_eq!(
            drawn[6..],
            expected[7..]
                .iter()
                .map(|s| s.to_string())
                .collect::<Vec<_>>()[..]
        );
        assert_eq!(drawn.iter().filter(|line| line.contains("# #")).count(), 3);
        assert_eq!(
            drawn
                .iter()
                .map(|line| line.matches('#').count())
                .sum::<usize>(),
            9
        );
    }

    #[test]
    fn memory_shows_used_and_whole() {
        let view = View {
            shown: Shown::Memory,
            ..View::default()
        };
        let drawn = text(&draw(&view, &[node(1, 0)], 30, 14)).join("\n");
        assert_eq!(drawn.matches('#').count(), 5 + 1, "{drawn}");
        assert_eq!(drawn.matches('+').count(), 5 + 2, "{drawn}");
    }

    #[test]
    fn numbering_decides_how_many_nodes_fit() {
        let nodes: Vec<Node> = (1..=10_000)
            .map(|number| node(number, number % 500))
            .collect();
        let fits = |numbering| {
            let view = View {
                numbering,
                ..View::default()
            };
            draw(&view, &nodes, 80, 24).fits
        };
        assert_eq!(fits(Numbering::Horizontal), 12);
        assert_eq!(fits(Numbering::Vertical), 36);
        assert_eq!(fits(Numbering::Tight), 72);
        // Downwards would not show all of them either.
        assert_eq!(fits(Numbering::Automatic), 12);
        let view = View {
            first: 9_999,
            numbering: Numbering::Tight,
            ..View::default()
        };
        let drawn = text(&draw(&view, &nodes, 80, 24)).join("\n");
        assert!(drawn.contains("nodes 9929 to 10000 of 10000"), "{drawn}");
        let few = draw(&View::default(), &nodes[..30], 80, 24);
        assert_eq!(few.fits, 36);
    }

    #[test]
    fn any_size_will_do() {
        let nodes: Vec<Node> = (1..=300).map(|number| node(number, 70)).collect();
        for columns in [1, 2, 7, 8, 9, 20, 200] {
            for rows in [1, 2, 3, 6, 8, 50] {
                for help in [false, true] {
                    let view = View {
                        help,
                        count: true,
                        ..View::default()
                    };
                    assert_eq!(draw(&view, &nodes, columns, rows).rows, rows);
                    draw(&view, &[], columns, rows);
                }
            }
        }
    }

    #[test]
    fn axes_end_at_round_numbers() {
        for (number, top) in [
            (1.0, 1.0),
            (1.2, 1.5),
            (2.5, 3.0),
            (700.0, 800.0),
            (999.0, 1000.0),
        ] {
            assert_eq!(round_up(number), top);
        }
        assert_eq!(short(0.25), "0.25");
        assert_eq!(short(12.5), "12.5");
        assert_eq!(short(24_105.0), "24105");
    }
}
