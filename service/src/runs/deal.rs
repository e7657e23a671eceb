//! From datasets and a split to the rows of a run, and what the test rows are worth. The same request with the same pins
//! deals the same rows, whenever it is asked.

use crate::datasets::dealing::{split_rows, text_key};
use crate::datasets::frozen::FrozenTestId;
use crate::datasets::{Changes, Datasets, Snapshot, blocking};
use crate::error::Result;
use domain::cleanliness::{Cleanliness, TestRowFlags};
use domain::dataset::DatasetId;
use domain::error::UserError;
use domain::run::NewRun;
use domain::spec::TrainSpec;
use domain::split::{Part, Split, cap_training};
use domain::version::{RowId, VersionNumber};
use engine::train::{Example, TrainRequest};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

/// What a run reads, settled when it is started: whatever becomes of the datasets, its rows stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    pub dataset: VersionNumber,
    /// Of the split's own test dataset, where it has one.
    pub test: Option<VersionNumber>,
    pub validation: Option<VersionNumber>,
    pub frozen_test: Option<FrozenTestId>,
}

impl Pins {
    /// What is newest now, but for a version that is asked for.
    pub async fn now(datasets: &Datasets, new: &NewRun) -> Result<Self> {
        new.split.check()?;
        let dataset = datasets.resolve(new.dataset_id, new.dataset_version).await?;
        // One that is asked for may not be there.
        datasets.version(new.dataset_id, dataset).await?;
        let mut pins = Self { dataset, test: None, validation: None, frozen_test: None };
        match new.split {
            Split::OwnTest { test_dataset, validation_dataset, .. } => {
                pins.test = Some(datasets.resolve(test_dataset, None).await?);
                if let Some(validation) = validation_dataset {
                    pins.validation = Some(datasets.resolve(validation, None).await?);
                }
            }
            Split::Frozen { .. } => pins.frozen_test = datasets.frozen_test_id(new.dataset_id).await?,
            _ => {}
        }
        Ok(pins)
    }

    /// Of runs that were started before there were versions.
    pub fn of_old_run() -> Self {
        Self { dataset: 1, test: Some(1), validation: Some(1), frozen_test: None }
    }
}

/// A test row beside its text and label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestNote {
    /// In the dataset that it comes from.
    pub row: RowId,
    pub flags: TestRowFlags,
}

/// The rows of a run, dealt to their parts.
#[derive(Debug)]
pub struct Dealt {
    /// Most frequent first in the version that is trained on.
    pub labels: Vec<String>,
    pub train: Vec<Example>,
    pub validation: Vec<Example>,
    pub test: Vec<Example>,
    /// One per test row.
    pub notes: Vec<TestNote>,
}

impl Dealt {
    pub fn cleanliness(&self) -> Cleanliness {
        Cleanliness::of(&self.notes.iter().map(|note| note.flags).collect::<Vec<_>>())
    }

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

/// One dataset that a run reads.
struct Source {
    name: String,
    snapshot: Arc<Snapshot>,
}

/// All datasets that a run reads.
struct Sources {
    main: Source,
    /// Where the split names datasets of their own.
    validation: Option<Source>,
    test: Option<Source>,
    /// Rows of `main`.
    frozen: HashSet<RowId>,
}

/// # Errors
/// The split does not fit the rows: a label without training rows, no test rows, a label in an own test dataset that
/// training does not know.
pub async fn deal(datasets: &Datasets, new: &NewRun, pins: &Pins) -> Result<Dealt> {
    new.split.check()?;
    let (mut test, mut validation) = (None, None);
    if let Split::OwnTest { test_dataset, validation_dataset, .. } = new.split {
        check_apart(new.dataset_id, test_dataset, validation_dataset)?;
        test = Some(source(datasets, test_dataset, pins.test).await?);
        if let Some(id) = validation_dataset {
            validation = Some(source(datasets, id, pins.validation).await?);
        }
    }
    let frozen = match pins.frozen_test {
        Some(id) => datasets.frozen_rows(id).await?,
        None => HashSet::new(),
    };
    let main = source(datasets, new.dataset_id, Some(pins.dataset)).await?;
    let sources = Sources { main, validation, test, frozen };
    let (split, spec) = (new.split.clone(), new.spec.clone());
    blocking(move || Ok(deal_rows(&sources, &split, &spec)?)).await
}

async fn source(datasets: &Datasets, id: DatasetId, version: Option<VersionNumber>) -> Result<Source> {
    Ok(Source { name: datasets.get(id).await?.name, snapshot: datasets.snapshot(id, version).await? })
}

fn check_apart(
    training: DatasetId,
    test: DatasetId,
    validation: Option<DatasetId>,
) -> std::result::Result<(), UserError> {
    let problem = if test == training {
        "The test dataset is the training dataset itself. Choose another one, or split this one by shares."
    } else if validation == Some(training) {
        "The validation dataset is the training dataset itself. Choose another one, or take a share of this one."
    } else if validation == Some(test) {
        "The validation dataset is the test dataset: the adapter would be chosen by the rows that it is tested on. Choose \
         another one, or take a share of the training dataset."
    } else {
        return Ok(());
    };
    Err(UserError::invalid(problem))
}

fn deal_rows(sources: &Sources, split: &Split, spec: &TrainSpec) -> std::result::Result<Dealt, UserError> {
    let main = &*sources.main.snapshot;
    // Twins are looked for across all datasets of the run; the main one's places come first.
    let joint = sources.joint();
    let all = joint.as_ref().unwrap_or(main);
    let twins = all.twins();

    let rows = split_rows(main, &twins[..main.len()], &sources.frozen);
    let mut parts = split.deal(&rows)?;
    if spec.max_rows_per_label > 0 {
        let most = usize::try_from(spec.max_rows_per_label).unwrap_or(usize::MAX);
        cap_training(&rows, &mut parts, most, split.seed());
    }
    let labels: Vec<String> = main.label_counts().into_iter().map(|count| count.label).collect();
    let places: HashMap<&str, usize> =
        labels.iter().enumerate().map(|(place, label)| (label.as_str(), place)).collect();
    let example = |source: &Source, place: usize| example(source, place, &places, &labels);

    let (mut train, mut validation, mut test) = (Vec::new(), Vec::new(), Vec::new());
    let mut trained_groups = HashSet::new();
    // Row and place among all.
    let mut test_rows: Vec<(RowId, usize)> = Vec::new();
    for (row, part) in rows.iter().zip(parts) {
        let (Some(part), Some(place)) = (part, main.place(row.id)) else { continue };
        let example = example(&sources.main, place)?;
        match part {
            Part::Train => {
                trained_groups.insert(twins[place]);
                train.push(example);
            }
            Part::Validation => validation.push(example),
            Part::Test => {
                test_rows.push((row.id, place));
                test.push(example);
            }
        }
    }
    let mut first = main.len();
    if let Some(source) = &sources.validation {
        for place in 0..source.snapshot.len() {
            validation.push(example(source, place)?);
        }
        first += source.snapshot.len();
    }
    if let Some(source) = &sources.test {
        for place in 0..source.snapshot.len() {
            test.push(example(source, place)?);
            test_rows.push((source.snapshot.id(place), first + place));
        }
    }
    let contradicted = contradicted_texts(all);
    let note = |(row, place): (RowId, usize)| TestNote {
        row,
        flags: TestRowFlags {
            is_contradicted: contradicted.contains(&text_key(all.text(place))),
            is_in_training: trained_groups.contains(&twins[place]),
        },
    };
    let notes = test_rows.into_iter().map(note).collect();
    let dealt = Dealt { labels, train, validation, test, notes };
    check(&dealt, spec)?;
    Ok(dealt)
}

impl Sources {
    /// Main, validation and test one after the other; `None` where there is the main one only.
    fn joint(&self) -> Option<Snapshot> {
        if self.validation.is_none() && self.test.is_none() {
            return None;
        }
        let (mut segments, mut changes) = (Vec::new(), Changes::new());
        for source in [Some(&self.main), self.validation.as_ref(), self.test.as_ref()].into_iter().flatten() {
            let first = segments.iter().map(|segment: &Arc<crate::datasets::Segment>| segment.len()).sum::<usize>();
            segments.extend_from_slice(source.snapshot.segments());
            changes.extend(source.snapshot.changes().iter().map(|(id, change)| (id + first as RowId, change.clone())));
        }
        Some(Snapshot::new(segments, changes))
    }
}

/// Keys of the texts that carry more than one label.
fn contradicted_texts(all: &Snapshot) -> HashSet<u64> {
    let mut label_of: HashMap<u64, usize> = HashMap::with_capacity(all.len());
    let mut contradicted = HashSet::new();
    for place in 0..all.len() {
        let (key, label) = (text_key(all.text(place)), all.label(place));
        if *label_of.entry(key).or_insert(label) != label {
            contradicted.insert(key);
        }
    }
    contradicted
}

fn example(
    source: &Source,
    place: usize,
    places: &HashMap<&str, usize>,
    labels: &[String],
) -> std::result::Result<Example, UserError> {
    let Source { name, snapshot } = source;
    match places.get(snapshot.label_name(place)) {
        Some(&label) => Ok(Example { text: snapshot.text(place).to_string(), label }),
        None => Err(UserError::invalid(format!(
            "Line {} of dataset \"{name}\" has the label \"{}\", which the training dataset does not have; it has {}.",
            snapshot.line(place),
            snapshot.label_name(place),
            labels.join(", ")
        ))),
    }
}

fn check(dealt: &Dealt, spec: &TrainSpec) -> std::result::Result<(), UserError> {
    let mut trained = vec![0; dealt.labels.len()];
    for example in &dealt.train {
        trained[example.label] += 1;
    }
    if let Some(missing) = trained.iter().position(|rows| *rows == 0) {
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
    spec.class_weights.per_label(&dealt.labels, &trained).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::snapshot::tests::snapshot_of;

    fn source_of(name: &str, rows: &[(String, &str)]) -> Source {
        let rows: Vec<(&str, &str)> = rows.iter().map(|(text, label)| (text.as_str(), *label)).collect();
        Source { name: name.to_string(), snapshot: Arc::new(snapshot_of(&rows)) }
    }

    fn rows(labels: &[&'static str], count: usize) -> Vec<(String, &'static str)> {
        (0..count).map(|i| (format!("text {i}"), labels[i % labels.len()])).collect()
    }

    fn sources(main: &[(String, &str)], test: Option<&[(String, &str)]>) -> Sources {
        let test = test.map(|rows| source_of("Tests", rows));
        Sources { main: source_of("News", main), validation: None, test, frozen: HashSet::new() }
    }

    const OWN: Split = Split::OwnTest { test_dataset: 2, validation_dataset: None, validation: 10.0, seed: 1 };

    #[test]
    fn labels_stand_most_frequent_first_and_parts_keep_their_rows() {
        let mut all = rows(&["z", "a"], 100);
        all.push(("one more".to_string(), "z"));
        let dealt = deal_rows(&sources(&all, None), &Split::default(), &TrainSpec::default()).unwrap();
        assert_eq!(dealt.labels, ["z", "a"]);
        assert_eq!(dealt.train.len() + dealt.validation.len() + dealt.test.len(), 101);
        let badge = dealt.cleanliness();
        assert!(badge.is_clean() && badge.test_rows == 30, "{badge:?}");
        for (note, example) in dealt.notes.iter().zip(&dealt.test) {
            assert_eq!(all[note.row as usize].0, example.text);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        let spec = TrainSpec::default();
        let told =
            |sources: &Sources, split: &Split, spec: &TrainSpec| deal_rows(sources, split, spec).unwrap_err().message;
        let main = rows(&["a", "b"], 40);
        let strange = sources(&main, Some(&rows(&["a", "b", "c"], 9)));
        let message = told(&strange, &OWN, &spec);
        assert!(message.contains("Line 4") && message.contains("\"c\"") && message.contains("Tests"), "{message}");

        let few = sources(&rows(&["a", "b"], 10), None);
        let tiny_test = Split::Percent { train: 99.0, validation: 0.0, test: 1e-9, seed: 1 };
        assert!(told(&few, &tiny_test, &spec).contains("no test rows"));
        let tiny_train = Split::Percent { train: 1e-9, validation: 0.0, test: 80.0, seed: 1 };
        assert!(told(&few, &tiny_train, &spec).contains("No training row"));
        let weights = TrainSpec { class_weights: "x=2".to_string().try_into().unwrap(), ..spec };
        assert!(told(&few, &Split::default(), &weights).contains("\"x\""));
        assert!(check_apart(1, 1, None).is_err() && check_apart(1, 2, Some(1)).is_err());
        assert!(check_apart(1, 2, Some(2)).is_err() && check_apart(1, 2, Some(3)).is_ok());
    }

    /// Of an own test dataset: rows that training knows under the same label, under another one, and new ones.
    #[test]
    fn test_rows_that_training_knows_or_contradicts_are_flagged() {
        let main = rows(&["a", "b"], 40);
        let test: Vec<(String, &str)> = [
            ("new", "a"),
            // Known, or held back for validation.
            ("  TEXT 0", "a"),
            ("text 1", "a"),
            ("twice", "a"),
            ("Twice", "b"),
        ]
        .map(|(text, label)| (text.to_string(), label))
        .to_vec();
        let split = Split::OwnTest { test_dataset: 2, validation_dataset: None, validation: 0.0, seed: 1 };
        let dealt = deal_rows(&sources(&main, Some(&test)), &split, &TrainSpec::default()).unwrap();
        let flags: Vec<(bool, bool)> =
            dealt.notes.iter().map(|note| (note.flags.is_contradicted, note.flags.is_in_training)).collect();
        assert_eq!(flags, [(false, false), (false, true), (true, true), (true, false), (true, false)]);
        assert_eq!(dealt.notes.iter().map(|note| note.row).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(dealt.cleanliness().words(), "3 of 5 test rows contradicted, 2 also in train");
    }

    #[test]
    fn an_own_validation_dataset_leaves_all_rows_to_training_and_shifts_nothing() {
        let main = rows(&["a", "b"], 40);
        let validation: Vec<(String, &str)> = (0..6).map(|i| (format!("seen {i}"), "a")).collect();
        let mut sources = sources(&main, Some(&[("text 3".to_string(), "b"), ("seen 2".to_string(), "a")]));
        sources.validation = Some(source_of("Looks", &validation));
        let split = Split::OwnTest { test_dataset: 2, validation_dataset: Some(3), validation: 0.0, seed: 1 };
        let dealt = deal_rows(&sources, &split, &TrainSpec::default()).unwrap();
        assert_eq!((dealt.train.len(), dealt.validation.len(), dealt.test.len()), (40, 6, 2));
        let in_training: Vec<bool> = dealt.notes.iter().map(|note| note.flags.is_in_training).collect();
        assert_eq!(in_training, [true, false]);
    }

    #[test]
    fn the_cap_is_on_training_alone() {
        let main = rows(&["a", "a", "a", "b"], 200);
        let spec = TrainSpec { max_rows_per_label: 10, ..TrainSpec::default() };
        let capped = deal_rows(&sources(&main, None), &Split::default(), &spec).unwrap();
        let whole = deal_rows(&sources(&main, None), &Split::default(), &TrainSpec::default()).unwrap();
        assert_eq!((capped.train.len(), whole.train.len()), (20, 120));
        assert_eq!((&capped.test, &capped.validation), (&whole.test, &whole.validation));
    }
}
