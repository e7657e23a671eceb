//! Answers from finished runs and from adapters of the catalogue.
//!
//! One thread has the device. The bases lie in memory once, the adapters beside them as long as they fit a budget. What
//! waits is joined into one pass, also where it is for different adapters of a base; a pass is kept short, so that nobody
//! waits long for a turn, and long requests go through many of them. When the line is full, the next one is told so at
//! once, and when there will be room, instead of waiting longer and longer.

mod batcher;
mod limits;
mod open;
mod queue;

use crate::error::{Result, ServiceError};
use crate::models::{BasePath, Models};
use crate::runs::Runs;
use domain::catalogue::AdapterSource;
use domain::error::UserError;
use domain::metrics::calibration::at_temperature;
use domain::prediction::Classification;
use engine::classify::ClassifierFile;
use engine::train::adapter_directory;
use queue::{Queue, Request};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

pub use limits::{MAX_TEXT_BYTES, MAX_TEXTS, check_text};

/// What is looked up of an adapter counts so long: a removed one answers for some moments more.
const LOOKED_UP_FOR: Duration = Duration::from_secs(5);
/// Adapters of which that is remembered.
const REMEMBERED: usize = 256;

/// How much may wait and be held, and how long a pass may take.
#[derive(Clone, Copy, Debug)]
pub struct ServingLimits {
    /// Bytes of adapters, and of the beginnings of their prompts, that stay in memory. The bases are not counted.
    pub adapter_bytes: usize,
    /// What a pass is cut down to, about, from the measured speed. A request that comes while one is under way waits so
    /// long at most, unless the line is longer than a pass.
    pub pass_budget: Duration,
    /// Requests that may be there at a time, those under way included.
    pub waiting_requests: usize,
    /// Texts of all of them together; a request that finds nobody there may have more.
    pub waiting_texts: usize,
}

impl Default for ServingLimits {
    fn default() -> Self {
        Self {
            adapter_bytes: 512 << 20,
            pass_budget: Duration::from_millis(100),
            waiting_requests: 64,
            waiting_texts: 2000,
        }
    }
}

/// Clones share the thread, which ends with the last of them.
#[derive(Clone)]
pub struct Classifiers {
    runs: Runs,
    models: Models,
    queue: Arc<Queue>,
    looked_up: Arc<Mutex<LookedUp>>,
    _life: Arc<Life>,
}

/// Whoever waits for the last clone.
struct Life(Arc<Queue>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    source: AdapterSource,
    with_adapter: bool,
}

/// What an adapter needs to answer.
pub(crate) struct Trained {
    base: BasePath,
    adapter: PathBuf,
    classifier: ClassifierFile,
}

/// What has been looked up in the database, and when.
type LookedUp = HashMap<Key, (Instant, Arc<Trained>)>;

/// How a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// For somebody: refused where too much waits.
    Asked,
    /// A part of a stream, of which there are few at a time: never refused, and behind the others.
    Streamed,
}

impl Classifiers {
    pub(crate) fn start(runs: Runs, models: Models, limits: ServingLimits) -> Result<Self> {
        let queue = Arc::new(Queue::new(limits));
        let (there, waiting) = (models.clone(), queue.clone());
        std::thread::Builder::new()
            .name("classifiers".to_string())
            .spawn(move || batcher::answer_all(&there, &waiting, limits))
            .map_err(|error| ServiceError::io("classifiers thread".as_ref(), error))?;
        let life = Arc::new(Life(queue.clone()));
        Ok(Self { runs, models, queue, looked_up: Arc::default(), _life: life })
    }

    /// What a run's adapter, or one of the catalogue, says of the texts; calibrated, where a temperature has been fitted.
    ///
    /// # Errors
    /// The run has not finished, or nobody has said what the adapter answers; a text is empty or too long, or there are
    /// too many; too many requests wait.
    pub async fn classify(&self, source: AdapterSource, texts: Vec<String>) -> Result<Classification> {
        self.ask(Key { source, with_adapter: true }, texts, Turn::Asked).await
    }

    /// As [`Classifiers::classify`], a part of a stream.
    pub async fn classify_streamed(&self, source: AdapterSource, texts: Vec<String>) -> Result<Classification> {
        self.ask(Key { source, with_adapter: true }, texts, Turn::Streamed).await
    }

    /// What the base says of the texts without the adapter, under the same template and labels.
    pub async fn classify_base(&self, source: AdapterSource, texts: Vec<String>) -> Result<Classification> {
        self.ask(Key { source, with_adapter: false }, texts, Turn::Asked).await
    }

    /// The labels of an adapter, in the order of its probabilities.
    ///
    /// # Errors
    /// As [`Classifiers::classify`].
    pub async fn labels(&self, source: AdapterSource) -> Result<Vec<String>> {
        Ok(self.trained(Key { source, with_adapter: true }).await?.classifier.labels.clone())
    }

    /// The temperature that an adapter's answers are calibrated with, if one has been fitted.
    ///
    /// # Errors
    /// As [`Classifiers::classify`].
    pub async fn temperature(&self, source: AdapterSource) -> Result<Option<f64>> {
        Ok(self.trained(Key { source, with_adapter: true }).await?.classifier.temperature)
    }

    async fn ask(&self, key: Key, texts: Vec<String>, turn: Turn) -> Result<Classification> {
        limits::check_texts(&texts)?;
        if turn == Turn::Asked {
            // Before anything is looked up: who is refused costs nothing.
            self.queue.check_room(texts.len())?;
        }
        let trained = self.trained(key).await?;
        let (answer, answered) = oneshot::channel();
        self.queue.push(Request::new(key, trained.clone(), texts, answer), turn)?;
        let (predictions, duration_ms) = answered.await.unwrap_or_else(|_| Err(gone()))?;
        // The base's own confidence is what it is: the temperature is the adapter's.
        let temperature = trained.classifier.temperature.filter(|_| key.with_adapter);
        let predictions = match temperature {
            Some(temperature) => predictions.iter().map(|raw| at_temperature(raw, temperature)).collect(),
            None => predictions,
        };
        Ok(Classification { labels: trained.classifier.labels.clone(), predictions, duration_ms, temperature })
    }

    async fn trained(&self, key: Key) -> Result<Arc<Trained>> {
        if let Some((at, trained)) = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && at.elapsed() < LOOKED_UP_FOR
        {
            return Ok(trained.clone());
        }
        let trained = Arc::new(self.look_up(key.source).await?);
        let mut looked_up = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
        if looked_up.len() >= REMEMBERED {
            looked_up.retain(|_, (at, _)| at.elapsed() < LOOKED_UP_FOR);
            if looked_up.len() >= REMEMBERED {
                looked_up.clear();
            }
        }
        looked_up.insert(key, (Instant::now(), trained.clone()));
        Ok(trained)
    }

    async fn look_up(&self, source: AdapterSource) -> Result<Trained> {
        match source {
            AdapterSource::Run(run) => {
                let run = self.runs.finished(run).await?;
                Ok(Trained {
                    base: self.models.base(run.base).await?,
                    adapter: adapter_directory(&run.directory),
                    classifier: run.classifier,
                })
            }
            AdapterSource::Model(model) => {
                let adapter = self.models.adapter(model).await?;
                let classifier = adapter.classifier.ok_or_else(|| {
                    UserError::conflict(
                        "Nobody has said what this adapter answers, so it can be trained further but not classified \
                         with. Remove it from the catalogue and add it again with its labels.",
                    )
                })?;
                Ok(Trained { base: self.models.base(adapter.base).await?, adapter: adapter.directory, classifier })
            }
        }
    }
}

fn gone() -> ServiceError {
    ServiceError::Panicked("the thread that classifies has ended".to_string())
}
