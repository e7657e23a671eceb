//! The form of a new sweep: the fields of a new run, in which a setting may have several values or a range, and how the
//! search goes. The browser reads it at every key press and the server when it arrives, with the same checks.

use super::run_form::{FieldError, RunForm};
use domain::error::UserError;
use domain::run::NewRun;
use domain::spec::{KNOBS, Knob, TrainSpec};
use domain::sweep::{Dimension, Halving, NewSweep, RungUnit, Search, Space, Values, plan, sweepable};
use leptos_router::location::Url;
use serde::{Deserialize, Serialize};

/// What was typed, by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SweepForm(RunForm);

/// Fields beside those of a run, with what they hold at first.
const FIELDS: &[(&str, &str)] = &[
    ("search", "grid"),
    ("trials", "12"),
    ("search_seed", "1"),
    ("halving", "on"),
    ("rungs", "1, 2"),
    ("rung_unit", "epochs"),
    ("keep_one_of", "2"),
];

/// Longest words of one field that are read: a list of 100 prompts fits.
const LONGEST_FIELD: usize = 200_000;

impl SweepForm {
    /// The form of a run with what a search needs; what can be looked up takes its place.
    pub fn new(run: RunForm, asked: impl Fn(&str) -> Option<String>) -> Self {
        let mut form = Self(run);
        for (field, words) in FIELDS {
            let words = asked(field).unwrap_or_else(|| (*words).to_string());
            form.set(field, words);
        }
        form
    }

    pub fn get(&self, field: &str) -> &str {
        self.0.get(field)
    }

    pub fn set(&mut self, field: &str, words: impl Into<String>) {
        self.0.set(field, words);
    }

    /// Names of all fields.
    pub fn fields() -> impl Iterator<Item = &'static str> {
        RunForm::fields().chain(FIELDS.iter().map(|(field, _)| *field))
    }

    /// The form as the part of an address behind the `?`.
    pub fn query(&self) -> String {
        let own = FIELDS.iter().map(|(field, _)| format!("{field}={}", Url::escape(self.get(field))));
        [self.0.query()].into_iter().chain(own).collect::<Vec<_>>().join("&")
    }

    pub fn is_random(&self) -> bool {
        self.get("search") == "random"
    }

    pub fn halves(&self) -> bool {
        self.get("halving") == "on"
    }

    /// What a knob's field says.
    ///
    /// # Errors
    /// A value that the knob refuses.
    pub fn dimension(&self, knob: &Knob) -> Result<Dimension, UserError> {
        let words = self.get(knob.name).replace("\r\n", "\n");
        if words.len() > LONGEST_FIELD {
            return Err(UserError::invalid(format!("{} ({}) is too long.", knob.title, knob.name)));
        }
        if !sweepable(knob) {
            knob.check(&words)?;
            return Ok(Dimension { knob: knob.name.to_string(), values: Values::List(vec![words]) });
        }
        Dimension::parse(knob.name, &words)
    }

    /// Whether the field has more than one value.
    pub fn varies(&self, knob: &Knob) -> bool {
        self.dimension(knob).is_ok_and(|dimension| is_varied(&dimension))
    }

    /// Why the words of one field are refused, if they are.
    pub fn check(&self, field: &'static str) -> Option<FieldError> {
        let refused = |error: UserError| FieldError { field, message: error.message };
        if let Some(knob) = KNOBS.iter().find(|knob| knob.name == field) {
            return self.dimension(knob).err().map(refused);
        }
        let result = match field {
            "trials" if self.is_random() => self.number(field).map(|_| ()),
            "search_seed" if self.is_random() => self.number(field).map(|_| ()),
            "rungs" if self.halves() => self.rungs().map(|_| ()),
            "keep_one_of" if self.halves() => self.number(field).map(|_| ()),
            _ => return self.0.check(field),
        };
        result.err().map(refused)
    }

    /// The sweep that the form asks for.
    ///
    /// # Errors
    /// Every field that is refused; or, if none is, why all of them together are.
    pub fn read(&self) -> Result<NewSweep, Vec<FieldError>> {
        let mut errors: Vec<FieldError> =
            FIELDS.iter().map(|(field, _)| *field).filter_map(|field| self.check(field)).collect();
        let mut fixed = self.0.clone();
        let mut dimensions = Vec::new();
        for knob in KNOBS {
            match self.dimension(knob) {
                Ok(dimension) => {
                    // The recipe around which is searched has the first value.
                    fixed.set(knob.name, first_value(&dimension));
                    if is_varied(&dimension) {
                        dimensions.push(dimension);
                    }
                }
                Err(error) => errors.push(FieldError { field: knob.name, message: error.message }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let run: NewRun = fixed.read()?;
        let refused = |field: &'static str| move |error: UserError| vec![FieldError { field, message: error.message }];
        let search = if self.is_random() {
            Search::Random { trials: self.number("trials").map_err(refused("trials"))? }
        } else {
            Search::Grid
        };
        let halving = if self.halves() { Some(self.halving().map_err(refused("rungs"))?) } else { None };
        let space = Space { dimensions, search, halving };
        let seed = if self.is_random() { self.number("search_seed").map_err(refused("search_seed"))? } else { 0 };
        plan(&run.spec, &space, seed).map_err(refused("search"))?;
        Ok(NewSweep { run, space, seed })
    }

    /// The run that the search begins with, as far as it can be read.
    pub fn first_run(&self) -> Option<RunForm> {
        let mut fixed = self.0.clone();
        for knob in KNOBS {
            fixed.set(knob.name, first_value(&self.dimension(knob).ok()?));
        }
        fixed.read().is_ok().then_some(fixed)
    }

    /// How many runs it would be.
    pub fn runs(&self) -> Option<usize> {
        let new = self.read().ok()?;
        plan(&new.run.spec, &new.space, new.seed).ok().map(|specs: Vec<TrainSpec>| specs.len())
    }

    fn halving(&self) -> Result<Halving, UserError> {
        let unit = if self.get("rung_unit") == "steps" { RungUnit::Steps } else { RungUnit::Epochs };
        Ok(Halving { rungs: self.rungs()?, unit, keep_one_of: self.number("keep_one_of")? })
    }

    fn rungs(&self) -> Result<Vec<u64>, UserError> {
        let words = self.get("rungs");
        words
            .split(',')
            .take(100)
            .map(|word| {
                let word = word.trim();
                word.parse().map_err(|_| {
                    UserError::invalid(format!("Rungs are whole numbers between commas; \"{word}\" is none."))
                })
            })
            .collect()
    }

    fn number(&self, field: &str) -> Result<u64, UserError> {
        let words = self.get(field).trim();
        words.parse().map_err(|_| UserError::invalid(format!("This must be a whole number; \"{words}\" is not.")))
    }
}

fn is_varied(dimension: &Dimension) -> bool {
    match &dimension.values {
        Values::List(values) => values.len() > 1,
        Values::Range { .. } => true,
    }
}

fn first_value(dimension: &Dimension) -> String {
    match &dimension.values {
        Values::List(values) => values.first().cloned().unwrap_or_default(),
        Values::Range { from, .. } => from.to_string(),
    }
}

/// The first reason of several.
pub fn first_of(errors: Vec<FieldError>) -> UserError {
    UserError::invalid(errors.into_iter().next().map_or_else(String::new, |error| error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&str, &str)]) -> SweepForm {
        let mut run = RunForm::default();
        run.set("dataset", "3");
        let mut form = SweepForm::new(run, |_| None);
        for (field, words) in fields {
            form.set(field, *words);
        }
        form
    }

    #[test]
    fn a_field_with_several_values_is_searched_and_one_with_one_is_set() {
        let form = form(&[("r", "8, 16"), ("learning_rate", "1e-4, 1e-3"), ("weight_decay", "0.01")]);
        let new = form.read().unwrap();
        assert_eq!(form.runs(), Some(4));
        let knobs: Vec<&str> = new.space.dimensions.iter().map(|dimension| dimension.knob.as_str()).collect();
        assert_eq!(knobs, ["learning_rate", "r"]);
        assert_eq!((new.run.spec.weight_decay, new.run.spec.r), (0.01, 8));
        assert_eq!(new.space.halving.unwrap().rungs, [1, 2]);
    }

    #[test]
    fn a_random_search_reads_ranges_and_a_grid_refuses_them() {
        let random = form(&[("search", "random"), ("trials", "5"), ("learning_rate", "1e-5 .. 1e-3 log")]);
        assert_eq!(random.runs(), Some(5));
        let mut grid = random.clone();
        grid.set("search", "grid");
        let errors = grid.read().unwrap_err();
        assert_eq!(errors[0].field, "search");
        assert!(errors[0].message.contains("range"), "{}", errors[0].message);
    }

    #[test]
    fn what_is_refused_is_named() {
        let refused = |fields: &[(&str, &str)]| form(fields).read().unwrap_err().remove(0);
        assert_eq!(refused(&[("r", "8, many")]).field, "r");
        assert_eq!(refused(&[("rungs", "1, x")]).field, "rungs");
        assert_eq!(refused(&[("r", "8, 9"), ("rungs", "5")]).field, "search");
        assert_eq!(refused(&[("search", "random"), ("trials", "-1")]).field, "trials");
        assert!(refused(&[]).message.contains("at least one setting"));
        assert!(form(&[("halving", "off"), ("rungs", "nonsense"), ("r", "8, 9")]).read().is_ok());
        assert_eq!(refused(&[("dataset", ""), ("r", "8, 9")]).field, "dataset");
    }

    #[test]
    fn the_form_comes_back_from_an_address() {
        let sent = form(&[("r", "8, 16"), ("search", "random"), ("trials", "2"), ("keep_one_of", "3")]);
        let query = sent.query();
        assert!(query.contains("keep_one_of=3") && query.contains("dataset=3"), "{query}");
        let back = SweepForm::new(sent.0.clone(), |field| Some(sent.get(field).to_string()));
        assert_eq!(back, sent);
    }
}
