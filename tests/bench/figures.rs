//! Medians, ratios, and the table they end in.

use std::fmt;

/// The middle value; of an even number of values the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The median of the pairs' quotients: "1.02 (0.97 to 1.05, 7 pairs)".
pub fn ratio_with_spread(ours: &[f64], theirs: &[f64]) -> String {
    let ratios: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .map(|(ours, theirs)| ours / theirs)
        .collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!(
        "{:.2} ({least:.2} to {most:.2}, {} pairs)",
        median(&ratios),
        ratios.len()
    )
}

/// One line of the README's table.
#[derive(Debug, Clone)]
pub struct Row {
    pub what: String,
    pub ours: String,
    pub other: String,
    pub ratio: String,
}

/// The README's table, in Markdown.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds a line and shows it at once, for whoever watches.
    pub fn add(&mut self, what: &str, ours: &str, other: &str, ratio: &str) {
        eprintln!("==> {what}: turnabout {ours}; {other}; ratio {ratio}");
        self.rows.push(Row {
            what: what.to_owned(),
            ours: ours.to_owned(),
            other: other.to_owned(),
            ratio: ratio.to_owned(),
        });
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "| what | turnabout | the other | ratio: median (least to most) |"
        )?;
        writeln!(out, "|---|---|---|---|")?;
        for row in &self.rows {
            writeln!(
                out,
                "| {} | {} | {} | {} |",
                row.what, row.ours, row.other, row.ratio
            )?;
        }
        Ok(())
    }
}
