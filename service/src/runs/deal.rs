//! From a dataset and a split to the rows of a run. The same request deals the same rows, whenever it is asked.

use crate::datasets::{Datasets, blocking};
use crate::error::Result;
use domain::dataset::{DatasetSummary, Row, normalise};
use domain::error::UserError;
use domain::run::NewRun;
use domain::split::{Part, Split};
use engine::train::{Example, TrainRequest};
use std::collections::HashSet;
use std::path::PathBuf;

/// The rows of a run, dealt to their parts.
pub struct Dealt {
    /// In the order of the dataset's summary.
    pub labels: Vec<String>,
    pub train: Vec<Example>,
    pub validation: Vec<Example>,
    pub test: Vec<Example>,
    /// Rows of an own test dataset whose text is among the training or validation rows, too.
    pub test_rows_known: usize,
}

impl Dealt {
    pub fn into_request(self, new: &NewRun, start_from: Option<PathBuf>, directory: PathBuf) -> TrainRequest {
        TrainRequest {
            spec: new.spec.clone(),
            labels: self.labels,
            train: self.train,
            validation: self.validation,
            test: self.test,
            start_from,
            directory,
        }
    }
}

/// # Errors
/// The split does not fit the rows: a label without training rows, no test rows, a label in the own test dataset that
/// training does not know.
pub async fn deal(datasets: &Datasets, new: &NewRun) -> Result<Dealt> {
    new.split.check()?;
    let summary = datasets.get(new.dataset_id).await?;
    let rows = datasets.load(new.dataset_id, None).await?;
    let own_test = match new.split {
        Split::OwnTest { test_dataset, .. } if test_dataset == new.dataset_id => {
            return Err(UserError::invalid(
                "The test dataset is the training dataset itself. Choose another one, or split this one by shares.",
            )
            .into());
        }
        Split::OwnTest { test_dataset, .. } => {
            Some((datasets.get(test_dataset).await?, datasets.load(test_dataset, None).await?))
        }
        _ => None,
    };
    let split = new.split.clone();
    blocking(move || Ok(deal_rows(&summary, rows, &split, own_test)?)).await
}

fn deal_rows(
    summary: &DatasetSummary,
    rows: Vec<Row>,
    split: &Split,
    own_test: Option<(DatasetSummary, Vec<Row>)>,
) -> std::result::Result<Dealt, UserError> {
    let labels: Vec<String> = summary.labels.iter().map(|count| count.label.clone()).collect();
    let parts = split.deal(&rows)?;
    let mut dealt = Dealt { labels, train: Vec::new(), validation: Vec::new(), test: Vec::new(), test_rows_known: 0 };
    for (row, part) in rows.into_iter().zip(parts) {
        let Some(part) = part else { continue };
        let example = example(row, &dealt.labels, &summary.name)?;
        match part {
            Part::Train => dealt.train.push(example),
            Part::Validation => dealt.validation.push(example),
            Part::Test => dealt.test.push(example),
        }
    }
    if let Some((test, rows)) = own_test {
        let known: HashSet<String> =
            dealt.train.iter().chain(&dealt.validation).map(|example| normalise(&example.text)).collect();
        dealt.test_rows_known = rows.iter().filter(|row| known.contains(&normalise(&row.text))).count();
        dealt.test = rows
            .into_iter()
            .map(|row| example(row, &dealt.labels, &test.name))
            .collect::<std::result::Result<_, _>>()?;
    }
    check(&dealt)?;
    Ok(dealt)
}

fn example(row: Row, labels: &[String], dataset: &str) -> std::result::Result<Example, UserError> {
    match labels.iter().position(|label| *label == row.label) {
        Some(label) => Ok(Example { text: row.text, label }),
        None => Err(UserError::invalid(format!(
            "Line {} of dataset \"{dataset}\" has the label \"{}\", which the training dataset does not have; it has {}.",
            row.line,
            row.label,
            labels.join(", ")
        ))),
    }
}

fn check(dealt: &Dealt) -> std::result::Result<(), UserError> {
    let mut trained = vec![false; dealt.labels.len()];
    for example in &dealt.train {
        trained[example.label] = true;
    }
    if let Some(missing) = trained.iter().position(|has_rows| !has_rows) {
        return Err(UserError::invalid(format!(
            "No training row has the label \"{}\" after the split, so it could not be learnt. Give training a larger \
             share, try another seed, or add rows with this label.",
            dealt.labels[missing]
        )));
    }
    if dealt.test.is_empty() {
        return Err(UserError::invalid(
            "The split leaves no test rows, so nothing could be compared before and after. Give the test a larger share.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::dataset::LabelCount;

    fn dataset(labels: &[&str], rows: usize) -> (DatasetSummary, Vec<Row>) {
        let rows: Vec<Row> = (0..rows)
            .map(|i| Row { line: i as u64 + 2, text: format!("text {i}"), label: labels[i % labels.len()].to_string() })
            .collect();
        let summary = DatasetSummary {
            id: 1,
            name: "News".into(),
            file_name: "news.csv".into(),
            text_column: "text".into(),
            label_column: "label".into(),
            rows: rows.len() as u64,
            rejected: 0,
            labels: labels.iter().map(|label| LabelCount { label: label.to_string(), rows: 1 }).collect(),
            created_at_ms: 0,
            version: 1,
            verdict: None,
        };
        (summary, rows)
    }

    #[test]
    fn labels_keep_the_order_of_the_summary_and_parts_their_rows() {
        let (summary, rows) = dataset(&["z", "a"], 100);
        let dealt = deal_rows(&summary, rows, &Split::default(), None).unwrap();
        assert_eq!(dealt.labels, ["z", "a"]);
        assert_eq!(dealt.train.len() + dealt.validation.len() + dealt.test.len(), 100);
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        let own = Split::OwnTest { test_dataset: 2, validation: 10.0, seed: 1 };
        let (summary, rows) = dataset(&["a", "b"], 40);
        let strange = dataset(&["a", "b", "c"], 9);
        let error = deal_rows(&summary, rows.clone(), &own, Some(strange)).err().unwrap();
        assert!(error.message.contains("Line 4") && error.message.contains("\"c\""), "{error}");

        let twins = dataset(&["a", "b"], 40);
        assert_eq!(deal_rows(&summary, rows, &own, Some(twins)).unwrap().test_rows_known, 40);

        let tiny_test = Split::Percent { train: 99.0, validation: 0.0, test: 1e-9, seed: 1 };
        let (summary, rows) = dataset(&["a", "b"], 10);
        assert!(deal_rows(&summary, rows.clone(), &tiny_test, None).err().unwrap().message.contains("no test rows"));
        let tiny_train = Split::Percent { train: 1e-9, validation: 0.0, test: 90.0, seed: 1 };
        assert!(deal_rows(&summary, rows, &tiny_train, None).err().unwrap().message.contains("No training row"));
    }
}
