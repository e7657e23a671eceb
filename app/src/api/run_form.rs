//! The form of a new run: words under field names, as a plain HTML form sends them, and how they become a
//! [`NewRun`]. The browser reads it at every key press and the server when it arrives, with the same checks.

use super::source;
use domain::catalogue::{AdapterSource, ModelId, OWN_MODEL};
use domain::dataset::{DatasetId, LabelCount};
use domain::error::UserError;
use domain::run::{MOST_MINUTES, NewRun};
use domain::spec::{KNOBS, TargetModule, TrainSpec, find_knob};
use domain::split::Split;
use domain::sweep::MOST_SEEDS;
use domain::version::VersionNumber;
use leptos_router::location::Url;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was typed, by field. A knob's field has the knob's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunForm(BTreeMap<String, String>);

/// A field whose words are refused, with the reason for the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub field: &'static str,
    pub message: String,
}

/// Fields that are no knobs, with what they hold at first. The counts are the notebook's: 900 / 150 / 900 rows of
/// three labels.
const PLAIN_FIELDS: &[(&str, &str)] = &[
    ("name", ""),
    ("dataset", ""),
    ("dataset_version", ""),
    ("base", "0"),
    ("start", ""),
    ("split", "percent"),
    ("percent_train", "60"),
    ("percent_validation", "10"),
    ("percent_test", "30"),
    ("rows_train", "300"),
    ("rows_validation", "50"),
    ("rows_test", "300"),
    ("test_dataset", ""),
    ("validation_dataset", ""),
    ("own_validation", "10"),
    ("column_validation", "10"),
    ("frozen_validation", "10"),
    ("split_seed", "42"),
    ("seeds", "1"),
    ("time_limit", ""),
];

/// Present in a form whose check boxes for the target modules were shown: a module that is missing then was
/// unchecked, where otherwise the knob's list counts.
pub const MODULES_SHOWN: &str = "modules_shown";

/// Ready-made fillings of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    Notebook,
    SmallBase,
}

impl Recipe {
    pub const ALL: [Self; 2] = [Self::Notebook, Self::SmallBase];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notebook => "notebook",
            Self::SmallBase => "small_base",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|recipe| recipe.as_str() == word)
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Notebook => "Notebook (QLoRA, r 64)",
            Self::SmallBase => "Small base, quick",
        }
    }

    pub fn help(self) -> &'static str {
        match self {
            Self::Notebook => {
                "The settings of the notebook that Ayar starts from, made for a base of some billion parameters on a GPU."
            }
            Self::SmallBase => {
                "For a base of some ten million parameters on a CPU: higher learning rate, larger batch, loss on the label alone."
            }
        }
    }

    pub fn spec(self) -> TrainSpec {
        match self {
            Self::Notebook => TrainSpec::default(),
            Self::SmallBase => TrainSpec::small_base(),
        }
    }
}

impl Default for RunForm {
    fn default() -> Self {
        let mut form = Self(PLAIN_FIELDS.iter().map(|(field, words)| (field.to_string(), words.to_string())).collect());
        form.fill(&TrainSpec::default());
        form
    }
}

impl RunForm {
    /// What stands in a field; empty where there is no such field.
    pub fn get(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    pub fn set(&mut self, field: &str, words: impl Into<String>) {
        self.0.insert(field.to_string(), words.into());
    }

    /// Names of all fields, with which a form is read out of a page's address or the page itself.
    pub fn fields() -> impl Iterator<Item = &'static str> {
        let modules = TargetModule::ALL.into_iter().map(TargetModule::as_str);
        PLAIN_FIELDS
            .iter()
            .map(|(field, _)| *field)
            .chain(KNOBS.iter().map(|knob| knob.name))
            .chain(modules)
            .chain([MODULES_SHOWN])
    }

    /// A form from wherever fields can be looked up; what is not there keeps its value in `basis`.
    pub fn from_lookup(basis: Self, lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut form = basis;
        if let Some(recipe) = lookup("recipe").and_then(|word| Recipe::parse(&word)) {
            form.fill(&recipe.spec());
        }
        for field in Self::fields() {
            if let Some(words) = lookup(field) {
                form.set(field, words);
            }
        }
        form.settle_modules();
        form
    }

    /// The form as the part of an address behind the `?`; [`RunForm::from_lookup`] reads it back.
    pub fn query(&self) -> String {
        // Only known fields: what else was sent has no place in an address.
        let pairs = Self::fields().filter_map(|field| Some(format!("{field}={}", Url::escape(self.0.get(field)?))));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// Puts a recipe's values into the knobs' fields.
    pub fn fill(&mut self, spec: &TrainSpec) {
        for knob in KNOBS {
            self.set(knob.name, spec.get(knob.name).unwrap_or_default());
        }
    }

    /// Puts a split into its fields.
    pub fn fill_split(&mut self, split: &Split) {
        let (kind, values): (&str, Vec<(&str, String)>) = match split {
            Split::Percent { train, validation, test, seed } => (
                "percent",
                vec![
                    ("percent_train", train.to_string()),
                    ("percent_validation", validation.to_string()),
                    ("percent_test", test.to_string()),
                    ("split_seed", seed.to_string()),
                ],
            ),
            Split::PerLabel { train, validation, test, seed } => (
                "per_label",
                vec![
                    ("rows_train", train.to_string()),
                    ("rows_validation", validation.to_string()),
                    ("rows_test", test.to_string()),
                    ("split_seed", seed.to_string()),
                ],
            ),
            Split::OwnTest { test_dataset, validation_dataset, validation, seed } => (
                "own_test",
                vec![
                    ("test_dataset", test_dataset.to_string()),
                    ("validation_dataset", validation_dataset.map(|id| id.to_string()).unwrap_or_default()),
                    ("own_validation", validation.to_string()),
                    ("split_seed", seed.to_string()),
                ],
            ),
            Split::Column { validation, seed } => {
                ("column", vec![("column_validation", validation.to_string()), ("split_seed", seed.to_string())])
            }
            Split::Frozen { validation, seed } => {
                ("frozen", vec![("frozen_validation", validation.to_string()), ("split_seed", seed.to_string())])
            }
            // A round of a cross-validation belongs to a label check; a run like it is dealt anew.
            Split::Fold { seed, .. } => ("percent", vec![("split_seed", seed.to_string())]),
        };
        self.set("split", kind);
        for (field, words) in values {
            self.set(field, words);
        }
    }

    /// Counts per label that the dataset can fill: the notebook's, or where the rarest label has fewer rows, the same
    /// shares of these, less a little for texts that occur twice.
    pub fn fit_rows_per_label(&mut self, labels: &[LabelCount]) {
        let fewest = labels.iter().map(|label| label.rows).min().unwrap_or(0);
        let (train, validation) = if fewest >= 700 { (300, 50) } else { (fewest * 9 / 20, fewest / 14) };
        self.set("rows_train", train.max(1).to_string());
        self.set("rows_validation", validation.to_string());
        self.set("rows_test", train.max(1).to_string());
    }

    /// The recipe whose values the knobs hold, if it is one of the ready-made ones.
    pub fn recipe(&self) -> Option<Recipe> {
        let spec = self.spec().ok()?;
        Recipe::ALL.into_iter().find(|recipe| recipe.spec() == spec)
    }

    pub fn dataset_id(&self) -> Option<DatasetId> {
        self.get("dataset").parse().ok()
    }

    /// The model that is fine-tuned; the server's own where none is named.
    pub fn base(&self) -> ModelId {
        self.get("base").parse().unwrap_or(OWN_MODEL)
    }

    /// The adapter that is trained further; `None`: a new one.
    pub fn start(&self) -> Option<AdapterSource> {
        source::parse(self.get("start"))
    }

    pub fn has_module(&self, module: TargetModule) -> bool {
        let list = self.get("target_modules");
        list.trim() == "all-linear" || list.split(',').any(|word| word.trim() == module.as_str())
    }

    /// Checks or unchecks a module in the list of the knob.
    pub fn set_module(&mut self, module: TargetModule, on: bool) {
        let chosen: Vec<&str> = TargetModule::ALL
            .into_iter()
            .filter(|other| if *other == module { on } else { self.has_module(*other) })
            .map(TargetModule::as_str)
            .collect();
        self.set("target_modules", chosen.join(","));
    }

    /// Check boxes, as a plain form sends them, become the knob's list.
    pub fn settle_modules(&mut self) {
        if self.0.remove(MODULES_SHOWN).is_none() {
            return;
        }
        let chosen: Vec<&str> =
            TargetModule::ALL.into_iter().map(TargetModule::as_str).filter(|name| self.0.contains_key(*name)).collect();
        self.set("target_modules", chosen.join(","));
        for module in TargetModule::ALL {
            self.0.remove(module.as_str());
        }
    }

    /// Why the words of one field are refused, if they are.
    pub fn check(&self, field: &'static str) -> Option<FieldError> {
        let refused = |error: UserError| FieldError { field, message: error.message };
        if let Some(knob) = find_knob(field) {
            return knob.check(&self.knob_words(field)).err().map(refused);
        }
        let result = match field {
            "base" => match self.get("base").trim() {
                "" => Ok(()),
                words => words.parse::<ModelId>().map(|_| ()).map_err(|_| UserError::invalid("Choose a base model.")),
            },
            "start" if self.get("start").is_empty() || self.start().is_some() => Ok(()),
            "start" => Err(UserError::invalid("Choose what training starts from.")),
            "dataset" => self.dataset_id().map(|_| ()).ok_or_else(|| UserError::invalid("Choose a dataset.")),
            "split" => self.split_sum(),
            "percent_train" | "percent_validation" | "percent_test" | "own_validation" | "column_validation"
            | "frozen_validation" => self.share(field).map(|_| ()),
            "rows_train" | "rows_validation" | "rows_test" | "split_seed" => self.count(field).map(|_| ()),
            "test_dataset" => self.test_dataset().map(|_| ()),
            "validation_dataset" => self.validation_dataset().map(|_| ()),
            "dataset_version" => self.dataset_version().map(|_| ()),
            "seeds" => self.seeds().map(|_| ()),
            "time_limit" => self.time_limit().map(|_| ()),
            _ => Ok(()),
        };
        result.err().map(refused)
    }

    /// The run that the form asks for.
    ///
    /// # Errors
    /// Every field that is refused, in the order of the form.
    pub fn read(&self) -> Result<NewRun, Vec<FieldError>> {
        let split_fields: &[&'static str] = match self.get("split") {
            "per_label" => &["rows_train", "rows_validation", "rows_test", "split_seed"],
            "own_test" => &["test_dataset", "validation_dataset", "own_validation", "split_seed"],
            "column" => &["column_validation", "split_seed"],
            "frozen" => &["frozen_validation", "split_seed"],
            _ => &["percent_train", "percent_validation", "percent_test", "split_seed"],
        };
        let mut errors: Vec<FieldError> = ["dataset", "dataset_version", "base", "start"]
            .iter()
            .chain(split_fields)
            .filter_map(|field| self.check(field))
            .collect();
        if errors.is_empty() {
            errors.extend(self.check("split"));
        }
        errors.extend(KNOBS.iter().filter_map(|knob| self.check(knob.name)));
        errors.extend(self.check("seeds"));
        errors.extend(self.check("time_limit"));
        if !errors.is_empty() {
            return Err(errors);
        }
        let refused = |field: &'static str| move |error: UserError| vec![FieldError { field, message: error.message }];
        Ok(NewRun {
            name: self.get("name").trim().to_string(),
            dataset_id: self.dataset_id().unwrap_or_default(),
            dataset_version: self.dataset_version().map_err(refused("dataset_version"))?,
            split: self.split().map_err(refused("split"))?,
            spec: self.spec().map_err(refused("split"))?,
            base_model: self.base(),
            start_from: self.start(),
            time_limit_minutes: self.time_limit().map_err(refused("time_limit"))?,
        })
    }

    /// With how many seeds the recipe is run.
    ///
    /// # Errors
    /// It is none of the numbers that can be.
    pub fn seeds(&self) -> Result<u64, UserError> {
        let words = self.get("seeds").trim();
        match words.parse::<u64>() {
            _ if words.is_empty() => Ok(1),
            Ok(seeds) if (1..=MOST_SEEDS).contains(&seeds) => Ok(seeds),
            _ => Err(UserError::invalid(format!(
                "A recipe is run with 1 to {MOST_SEEDS} seeds; \"{words}\" is no such number."
            ))),
        }
    }

    /// After how many minutes the run is stopped; none if nothing was typed.
    ///
    /// # Errors
    /// It is no such number.
    pub fn time_limit(&self) -> Result<Option<u64>, UserError> {
        let words = self.get("time_limit").trim();
        match words.parse::<u64>() {
            _ if words.is_empty() => Ok(None),
            Ok(minutes) if (1..=MOST_MINUTES).contains(&minutes) => Ok(Some(minutes)),
            _ => Err(UserError::invalid(format!(
                "A time limit is 1 to {MOST_MINUTES} minutes, or nothing; \"{words}\" is no such number."
            ))),
        }
    }

    /// The knobs alone.
    ///
    /// # Errors
    /// The first knob that is refused.
    pub fn spec(&self) -> Result<TrainSpec, UserError> {
        let mut spec = TrainSpec::default();
        for knob in KNOBS {
            spec.set(knob.name, &self.knob_words(knob.name))?;
        }
        Ok(spec)
    }

    /// Browsers send line breaks as CR LF; the template counts them as one character.
    fn knob_words(&self, field: &str) -> String {
        self.get(field).replace("\r\n", "\n")
    }

    /// The split alone.
    ///
    /// # Errors
    /// The first field of it that is refused.
    pub fn split(&self) -> Result<Split, UserError> {
        let seed = self.count("split_seed")?;
        Ok(match self.get("split") {
            "per_label" => Split::PerLabel {
                train: self.count("rows_train")?,
                validation: self.count("rows_validation")?,
                test: self.count("rows_test")?,
                seed,
            },
            "own_test" => Split::OwnTest {
                test_dataset: self.test_dataset()?,
                validation_dataset: self.validation_dataset()?,
                validation: self.share("own_validation")?,
                seed,
            },
            "column" => Split::Column { validation: self.share("column_validation")?, seed },
            "frozen" => Split::Frozen { validation: self.share("frozen_validation")?, seed },
            _ => Split::Percent {
                train: self.share("percent_train")?,
                validation: self.share("percent_validation")?,
                test: self.share("percent_test")?,
                seed,
            },
        })
    }

    fn split_sum(&self) -> Result<(), UserError> {
        self.split()?.check()
    }

    fn share(&self, field: &str) -> Result<f64, UserError> {
        let words = self.get(field).trim();
        match words.parse::<f64>() {
            Ok(share) if (0.0..=100.0).contains(&share) => Ok(share),
            _ => Err(UserError::invalid(format!("A share is a number from 0 to 100; \"{words}\" is not."))),
        }
    }

    fn count(&self, field: &str) -> Result<u64, UserError> {
        let words = self.get(field).trim();
        words.parse().map_err(|_| UserError::invalid(format!("This must be a whole number; \"{words}\" is not.")))
    }

    fn test_dataset(&self) -> Result<DatasetId, UserError> {
        let id =
            self.get("test_dataset").parse().map_err(|_| UserError::invalid("Choose the dataset to test with."))?;
        if Some(id) == self.dataset_id() {
            return Err(UserError::invalid("The test dataset must be another one than the dataset to learn from."));
        }
        Ok(id)
    }

    /// `None`: the validation rows are a share of the dataset to learn from.
    fn validation_dataset(&self) -> Result<Option<DatasetId>, UserError> {
        let words = self.get("validation_dataset");
        if words.is_empty() {
            return Ok(None);
        }
        let id = words.parse().map_err(|_| UserError::invalid("Choose the dataset to validate with."))?;
        if Some(id) == self.dataset_id() {
            return Err(UserError::invalid(
                "The validation dataset must be another one than the dataset to learn from.",
            ));
        }
        Ok(Some(id))
    }

    /// `None`: the newest one.
    fn dataset_version(&self) -> Result<Option<VersionNumber>, UserError> {
        match self.get("dataset_version") {
            "" => Ok(None),
            words => words.parse().map(Some).map_err(|_| UserError::invalid("Choose a version of the dataset.")),
        }
    }
}

/// The name of a run whose person gave it none.
pub fn automatic_name(dataset: &str, spec: &TrainSpec) -> String {
    format!("{dataset}, r {}, {} epochs", spec.r, spec.num_train_epochs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> RunForm {
        let mut form = RunForm::default();
        form.set("dataset", "3");
        form
    }

    #[test]
    fn the_first_form_is_the_notebook_and_lacks_only_a_dataset() {
        assert_eq!(RunForm::default().recipe(), Some(Recipe::Notebook));
        let errors = RunForm::default().read().unwrap_err();
        assert_eq!(errors.iter().map(|error| error.field).collect::<Vec<_>>(), ["dataset"]);
        let run = filled().read().unwrap();
        assert_eq!((run.dataset_id, run.spec, run.split), (3, TrainSpec::default(), Split::default()));
    }

    #[test]
    fn a_plain_html_form_arrives_as_it_was_typed() {
        // As a browser encodes it: brackets escaped, line breaks as CR LF, unchecked boxes missing.
        let mut form = filled();
        form.fill(&TrainSpec::small_base());
        let mut sent = RunForm(form.0.clone());
        sent.set("prompt_template", form.get("prompt_template").replace('\n', "\r\n"));
        sent.set(MODULES_SHOWN, "1");
        sent.set("q_proj", "on");
        sent.set("v_proj", "on");
        sent.settle_modules();
        let run = sent.read().unwrap();
        assert_eq!(run.spec.prompt_template, TrainSpec::default().prompt_template);
        assert_eq!(run.spec.target_modules, [TargetModule::QProj, TargetModule::VProj]);
        assert_eq!(run.spec.r, 16);
    }

    #[test]
    fn a_run_is_on_the_own_base_with_a_new_adapter_unless_the_form_says_otherwise() {
        let run = filled().read().unwrap();
        assert_eq!((run.base_model, run.start_from), (OWN_MODEL, None));
        let mut form = filled();
        form.set("base", "7");
        form.set("start", "run-3");
        let run = RunForm::from_lookup(RunForm::default(), |field| {
            Some(form.get(field).to_owned()).filter(|words| !words.is_empty())
        })
        .read()
        .unwrap();
        assert_eq!((run.base_model, run.start_from), (7, Some(AdapterSource::Run(3))));

        form.set("base", "the large one");
        form.set("start", "yesterday");
        let errors = form.read().unwrap_err();
        assert_eq!(errors.iter().map(|error| error.field).collect::<Vec<_>>(), ["base", "start"]);
    }

    #[test]
    fn every_refused_field_is_named() {
        let mut form = filled();
        form.set("r", "many");
        form.set("percent_train", "sixty");
        form.set("learning_rate", "5");
        let errors = form.read().unwrap_err();
        assert_eq!(errors.iter().map(|error| error.field).collect::<Vec<_>>(), ["percent_train", "learning_rate", "r"]);
        assert!(errors[0].message.contains("sixty"));

        let mut form = filled();
        form.set("percent_train", "80");
        assert_eq!(form.read().unwrap_err()[0].field, "split");
    }

    #[test]
    fn a_split_comes_back_from_its_fields() {
        for split in [
            Split::Percent { train: 50.0, validation: 12.5, test: 25.0, seed: 7 },
            Split::PerLabel { train: 30, validation: 5, test: 20, seed: 1 },
            Split::OwnTest { test_dataset: 9, validation_dataset: None, validation: 15.0, seed: 2 },
            Split::OwnTest { test_dataset: 9, validation_dataset: Some(8), validation: 15.0, seed: 2 },
            Split::Column { validation: 5.0, seed: 3 },
            Split::Frozen { validation: 12.5, seed: 4 },
        ] {
            let mut form = filled();
            form.fill_split(&split);
            assert_eq!(form.read().unwrap().split, split);
        }
    }

    #[test]
    fn counts_per_label_fit_the_rarest_label() {
        let labels = |rows: &[u64]| rows.iter().map(|&rows| LabelCount { label: "x".into(), rows }).collect::<Vec<_>>();
        for (rows, expected) in
            [([2000, 900], ["300", "50", "300"]), ([2000, 220], ["99", "15", "99"]), ([5, 2], ["1", "0", "1"])]
        {
            let mut form = filled();
            form.fit_rows_per_label(&labels(&rows));
            let got = ["rows_train", "rows_validation", "rows_test"].map(|field| form.get(field).to_string());
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_form_is_read_out_of_an_address() {
        let form = RunForm::from_lookup(RunForm::default(), |field| match field {
            "recipe" => Some("small_base".into()),
            "dataset" => Some("4".into()),
            "r" => Some("8".into()),
            _ => None,
        });
        let run = form.read().unwrap();
        assert_eq!((run.dataset_id, run.spec.r, run.spec.learning_rate), (4, 8, 1e-3));
    }

    #[test]
    fn modules_are_checked_one_by_one() {
        let mut form = filled();
        assert!(form.has_module(TargetModule::GateProj));
        form.set_module(TargetModule::GateProj, false);
        assert!(!form.has_module(TargetModule::GateProj) && form.has_module(TargetModule::QProj));
        TargetModule::ALL.into_iter().for_each(|module| form.set_module(module, false));
        assert_eq!(form.check("target_modules").unwrap().field, "target_modules");
    }

    #[test]
    fn the_test_dataset_is_another_one() {
        let mut form = filled();
        form.set("split", "own_test");
        assert_eq!(form.read().unwrap_err()[0].field, "test_dataset");
        form.set("test_dataset", "3");
        assert!(form.read().unwrap_err()[0].message.contains("another"));
    }
}
