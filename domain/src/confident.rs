//! Confident learning: which labels are likely wrong, from what cross-validated models say of every row.
//!
//! After Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal of
//! Artificial Intelligence Research 70 (2021), sections 3.1 and 3.2. Every row's probabilities must come from a model that
//! was not trained on the row.

/// A row as it is labelled and as the models see it.
#[derive(Clone, Copy, Debug)]
pub struct JudgedRow<'a> {
    /// Place of the label that it has.
    pub given: usize,
    /// One per label.
    pub probabilities: &'a [f32],
}

/// A row whose label the models doubt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Doubt {
    /// Place among the judged rows.
    pub row: usize,
    /// The label that the models give the most.
    pub suggested: usize,
    pub p_given: f64,
    pub p_suggested: f64,
}

/// What the models hold of the labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// `thresholds[j]`: mean probability of label `j` over the rows labelled `j`; infinite for a label without rows.
    pub thresholds: Vec<f64>,
    /// The confident joint: `joint[given][true]` counts rows labelled `given` that reach the threshold of `true`.
    pub joint: Vec<Vec<u64>>,
    /// Rows whose likeliest label is the given one.
    pub agreeing: u64,
    /// The most doubtful first: ordered by `p_given - p_suggested`, then by place.
    pub doubts: Vec<Doubt>,
}

/// Finds the rows off the diagonal of the confident joint. A row counts for the likeliest label among those whose
/// threshold its probability reaches, or not at all. Rows whose likeliest label of all is the given one are not doubted:
/// there is nothing to suggest.
///
/// Rows with another number of probabilities than `labels`, or a label beyond it, are passed over.
pub fn judge(rows: &[JudgedRow], labels: usize) -> Judgement {
    let is_usable = |row: &JudgedRow| row.probabilities.len() == labels && row.given < labels;
    let mut sums = vec![0.0; labels];
    let mut counts = vec![0_u64; labels];
    for row in rows.iter().filter(|row| is_usable(row)) {
        sums[row.given] += f64::from(row.probabilities[row.given]);
        counts[row.given] += 1;
    }
    let thresholds: Vec<f64> = sums
        .iter()
        .zip(&counts)
        .map(|(sum, rows)| if *rows == 0 { f64::INFINITY } else { sum / *rows as f64 })
        .collect();

    let mut judgement = Judgement { joint: vec![vec![0; labels]; labels], thresholds, agreeing: 0, doubts: Vec::new() };
    for (place, row) in rows.iter().enumerate().filter(|(_, row)| is_usable(row)) {
        let Some(suggested) = likeliest(row.probabilities, |_| true) else { continue };
        judgement.agreeing += u64::from(suggested == row.given);
        let reaches = |label: usize| f64::from(row.probabilities[label]) >= judgement.thresholds[label];
        let Some(confident) = likeliest(row.probabilities, reaches) else { continue };
        judgement.joint[row.given][confident] += 1;
        if confident != row.given && suggested != row.given {
            judgement.doubts.push(Doubt {
                row: place,
                suggested,
                p_given: f64::from(row.probabilities[row.given]),
                p_suggested: f64::from(row.probabilities[suggested]),
            });
        }
    }
    let margin = |doubt: &Doubt| doubt.p_given - doubt.p_suggested;
    judgement.doubts.sort_by(|a, b| margin(a).total_cmp(&margin(b)).then(a.row.cmp(&b.row)));
    judgement
}

/// The first of the largest among those that are wanted.
fn likeliest(probabilities: &[f32], is_wanted: impl Fn(usize) -> bool) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (label, probability) in probabilities.iter().enumerate() {
        if is_wanted(label) && best.is_none_or(|best| *probability > probabilities[best]) {
            best = Some(label);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rows: &[(usize, [f32; 3])]) -> Judgement {
        let rows: Vec<JudgedRow> =
            rows.iter().map(|(given, probabilities)| JudgedRow { given: *given, probabilities }).collect();
        judge(&rows, 3)
    }

    /// By hand: t_0 = (0.9 + 0.7 + 0.2) / 3 = 0.6, t_1 = (0.8 + 0.4) / 2 = 0.6, t_2 = (0.5 + 0.3) / 2 = 0.4.
    #[test]
    fn the_joint_and_the_ranking_are_those_worked_out_by_hand() {
        let judgement = judged(&[
            (0, [0.9, 0.05, 0.05]), // reaches 0: agrees
            (0, [0.7, 0.2, 0.1]),   // reaches 0: agrees
            (0, [0.2, 0.75, 0.05]), // reaches 1: doubted, margin -0.55
            (1, [0.1, 0.8, 0.1]),   // reaches 1: agrees
            (1, [0.05, 0.4, 0.55]), // reaches 2: doubted, margin -0.15
            (2, [0.25, 0.25, 0.5]), // reaches 2: agrees
            (2, [0.55, 0.15, 0.3]), // reaches none: the models are not sure of 0 either
        ]);
        for (threshold, expected) in judgement.thresholds.iter().zip([0.6, 0.6, 0.4]) {
            assert!((threshold - expected).abs() < 1e-6, "{judgement:?}");
        }
        assert_eq!(judgement.joint, [[2, 1, 0], [0, 1, 1], [0, 0, 1]]);
        assert_eq!(judgement.agreeing, 4);
        let found: Vec<(usize, usize)> = judgement.doubts.iter().map(|doubt| (doubt.row, doubt.suggested)).collect();
        assert_eq!(found, [(2, 1), (4, 2)]);
        assert!((judgement.doubts[0].p_given - 0.2).abs() < 1e-6);
        assert!((judgement.doubts[0].p_suggested - 0.75).abs() < 1e-6);
    }

    /// Of two thresholds that are reached, the likelier label counts; and a row whose likeliest label is its own is not
    /// doubted, though it reaches only another's threshold.
    #[test]
    fn collisions_go_to_the_likelier_label_and_the_likeliest_label_is_never_doubted() {
        let judgement = judged(&[
            (0, [1.0, 0.0, 0.0]),
            (0, [0.5, 0.3, 0.2]), // t_0 = 0.75 is not reached; t_1 = 0.3 is
            (1, [0.0, 0.3, 0.7]), // t_1 = 0.3 and t_2 = 0.6 are reached: 2
            (2, [0.2, 0.2, 0.6]),
        ]);
        assert_eq!(judgement.joint, [[1, 1, 0], [0, 0, 1], [0, 0, 1]]);
        assert_eq!(judgement.doubts.iter().map(|doubt| doubt.row).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_label_without_rows_is_never_suggested_for_sure_and_odd_rows_are_passed_over() {
        let rows = [
            JudgedRow { given: 0, probabilities: &[0.1, 0.9] },
            JudgedRow { given: 7, probabilities: &[0.5, 0.5] },
            JudgedRow { given: 0, probabilities: &[1.0] },
        ];
        let judgement = judge(&rows, 2);
        assert!(judgement.thresholds[1].is_infinite());
        assert_eq!(judgement.joint, [[1, 0], [0, 0]]);
        assert!(judgement.doubts.is_empty());
        assert!(judge(&[], 0).doubts.is_empty());
    }
}
