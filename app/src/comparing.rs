//! Words on two classifiers on the same rows, and on how sure scores are. Pure: pages and the report say the same.

use crate::format;
use domain::metrics::comparison::Comparison;

/// `0.034`, or `below 0.001`.
pub fn probability(p: f64) -> String {
    if p < 0.001 { "below 0.001".to_string() } else { format!("{p:.3}") }
}

/// What became of the rows, and whether that can be chance. `what` did it, such as `Training`.
pub fn verdict(what: &str, found: &Comparison) -> String {
    let Comparison { fixed, broken, p_value, .. } = *found;
    if fixed + broken == 0 {
        return format!("{what} moved no row from right to wrong or back.");
    }
    let rows = format::counted(fixed, "row", "rows");
    let judgement = match (found.is_significant(), fixed > broken) {
        (true, true) => "it is better, and hardly by chance",
        (true, false) => "it is worse, and hardly by chance",
        (false, _) => "this may well be chance",
    };
    format!(
        "{what} fixed {rows} and broke {}. If both were equally good, a difference at least this large would come about \
         with a probability {} (McNemar's exact test): {judgement}.",
        format::count(broken),
        if p_value < 0.001 { "below 0.001".to_string() } else { format!("of {p_value:.3}") },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::metrics::comparison::mcnemar;

    #[test]
    fn differences_are_judged() {
        let found = |fixed, broken| Comparison { rows: 900, fixed, broken, p_value: mcnemar(fixed, broken) };
        assert!(verdict("Training", &found(71, 40)).starts_with("Training fixed 71 rows and broke 40."));
        assert!(verdict("Training", &found(71, 40)).contains("of 0.004 (McNemar's exact test): it is better"));
        assert!(verdict("Training", &found(400, 40)).contains("below 0.001"));
        assert!(verdict("Run 2", &found(40, 71)).ends_with("it is worse, and hardly by chance."));
        assert!(verdict("Run 2", &found(5, 4)).ends_with("this may well be chance."));
        assert!(verdict("Run 2", &found(0, 0)).contains("no row"));
    }
}
