//! The adapters in memory, up to a budget; those that were used last stay.

use super::{Key, Trained};
use crate::error::Result;
use crate::models::Models;
use domain::catalogue::OWN_MODEL;
use domain::error::UserError;
use engine::{Classifier, EngineError};
use std::sync::Arc;

pub struct OpenClassifiers {
    budget_bytes: usize,
    /// The last used one stands first.
    open: Vec<Open>,
}

struct Open {
    key: Key,
    trained: Arc<Trained>,
    classifier: Arc<Classifier>,
}

impl OpenClassifiers {
    pub fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, open: Vec::new() }
    }

    /// The classifier of that key, opened if it is not. Those that were not used for longest leave the memory where it
    /// does not hold all; who still uses one keeps it as long.
    pub fn get(&mut self, key: Key, trained: &Arc<Trained>, models: &Models) -> Result<Arc<Classifier>> {
        let there = self.open.iter().position(|open| open.key == key);
        let found = match there.map(|place| self.open.remove(place)) {
            // What was looked up again says the same, or an adapter of the catalogue was described anew.
            Some(open) if open.trained.opens_as(trained) => open,
            _ => {
                // Of other bases than the server's own one is held at a time.
                self.open.retain(|open| open.trained.base.id == OWN_MODEL || open.trained.shares_base_with(trained));
                Open { key, trained: trained.clone(), classifier: Arc::new(open(key, trained, models)?) }
            }
        };
        let classifier = found.classifier.clone();
        self.open.insert(0, found);
        let mut bytes = 0;
        let mut kept = 0;
        self.open.retain(|open| {
            bytes += open.classifier.bytes();
            kept += 1;
            // One stays however large it is.
            kept == 1 || bytes <= self.budget_bytes
        });
        Ok(classifier)
    }

    /// After a panic: they may be in any state.
    pub fn clear(&mut self) {
        self.open.clear();
    }
}

fn open(key: Key, trained: &Trained, models: &Models) -> Result<Classifier> {
    let file = &trained.classifier;
    let base = models.load(&trained.base, file.quantization)?;
    let opened = if key.with_adapter {
        Classifier::open_as(base, &trained.adapter, file.clone())
    } else {
        Classifier::base_only(base, &file.prompt_setup())
    };
    opened.map_err(|error| match error {
        // Whoever asks has asked for what exists; it is the adapter that does not fit.
        EngineError::BadFile { reason, .. } => {
            UserError::conflict(format!("This adapter cannot classify on its base: {reason}.")).into()
        }
        other => other.into(),
    })
}

impl Trained {
    /// Whether rows of both can go through one pass.
    pub fn shares_base_with(&self, other: &Self) -> bool {
        (self.base.id, self.classifier.quantization) == (other.base.id, other.classifier.quantization)
    }

    /// Whether what is open for the one serves the other. A temperature fitted meanwhile opens nothing anew: it is applied
    /// to the answers.
    fn opens_as(&self, other: &Self) -> bool {
        let plain =
            |trained: &Self| engine::classify::ClassifierFile { temperature: None, ..trained.classifier.clone() };
        self.adapter == other.adapter && plain(self) == plain(other)
    }
}
