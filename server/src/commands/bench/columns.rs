//! Figures below each other.

/// The head and the lines with their cells right-aligned, two spaces between columns; the first `names` columns hold
/// words and are left-aligned.
pub fn aligned(names: usize, head: &[&str], lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column < names { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let mut table = vec![line(&mut head.iter().copied())];
    table.extend(lines.iter().map(|cells| line(&mut cells.iter().map(String::as_str))));
    table.join("\n")
}

/// `low-high` with so many decimals.
pub fn range(low: f64, high: f64, decimals: usize) -> String {
    format!("{low:.decimals$}-{high:.decimals$}")
}

/// Gibibytes; a dash for none, which is what the CPU tells.
pub fn gibibytes(bytes: u64) -> String {
    if bytes == 0 { "-".to_string() } else { format!("{:.2}", bytes as f64 / f64::from(1 << 30)) }
}

/// A rate of floating-point operations: `237 GFLOP/s`, `712 TFLOP/s`.
pub fn rate(gflops: f64) -> String {
    if gflops < 1e4 { format!("{gflops:.0} GFLOP/s") } else { format!("{:.0} TFLOP/s", gflops / 1e3) }
}

/// The figure in the middle, of two the smaller, with the smallest and the largest.
pub fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
    let last = values.len().saturating_sub(1);
    (at(last / 2), at(0), at(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_figures_right() {
        let lines = [["attention", "9.5"], ["o", "1234.0"]].map(|line| line.map(String::from).to_vec());
        assert_eq!(aligned(1, &["name", "µs"], &lines), "name           µs\nattention     9.5\no          1234.0");
    }

    #[test]
    fn the_middle_comes_with_its_spread() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), (2.0, 1.0, 3.0));
        assert_eq!(median(vec![5.0, 4.0]), (4.0, 4.0, 5.0));
    }
}
