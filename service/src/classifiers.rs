//! Answers from finished runs: one thread holds a few classifiers open and works through a short line of requests. When
//! the line is full, the next one is told so at once instead of waiting longer and longer.

use crate::error::{Result, ServiceError};
use crate::models::{BasePath, Models};
use crate::runs::Runs;
use crate::worker::words_of;
use domain::catalogue::AdapterSource;
use domain::error::{ErrorKind, UserError};
use domain::prediction::Classification;
use domain::spec::TrainSpec;
use engine::Classifier;
use engine::classify::ClassifierFile;
use engine::train::adapter_directory;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Instant;
use tokio::sync::oneshot;

/// Most texts in one request.
pub const MAX_TEXTS: usize = 1000;
/// Longest text, in bytes.
pub const MAX_TEXT_BYTES: usize = 20_000;
/// Requests that may wait.
const WAITING: usize = 8;
/// Classifiers that stay open, the last used ones.
const OPEN: usize = 4;

/// Clones share the thread, which ends with the last of them.
#[derive(Clone)]
pub struct Classifiers {
    runs: Runs,
    models: Models,
    requests: SyncSender<Request>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    source: AdapterSource,
    with_adapter: bool,
}

/// What an adapter needs to answer.
struct Trained {
    base: BasePath,
    adapter: PathBuf,
    classifier: ClassifierFile,
    /// Texts that go through the model together.
    batch_size: usize,
}

struct Request {
    key: Key,
    trained: Trained,
    texts: Vec<String>,
    answer: oneshot::Sender<Result<Classification>>,
}

impl Classifiers {
    pub(crate) fn start(runs: Runs, models: Models) -> Result<Self> {
        let (requests, waiting) = sync_channel(WAITING);
        let there = models.clone();
        std::thread::Builder::new()
            .name("classifiers".to_string())
            .spawn(move || answer_all(&there, &waiting))
            .map_err(|error| ServiceError::io("classifiers thread".as_ref(), error))?;
        Ok(Self { runs, models, requests })
    }

    /// What a run's adapter, or one of the catalogue, says of the texts.
    ///
    /// # Errors
    /// The run has not finished, or nobody has said what the adapter answers; a text is empty or too long, or there are
    /// too many; too many requests wait.
    pub async fn classify(&self, source: AdapterSource, texts: Vec<String>) -> Result<Classification> {
        self.ask(Key { source, with_adapter: true }, texts).await
    }

    /// What the base says of the texts without the adapter, under the same template and labels.
    pub async fn classify_base(&self, source: AdapterSource, texts: Vec<String>) -> Result<Classification> {
        self.ask(Key { source, with_adapter: false }, texts).await
    }

    async fn ask(&self, key: Key, texts: Vec<String>) -> Result<Classification> {
        check_texts(&texts)?;
        let trained = self.trained(key.source).await?;
        let (answer, answered) = oneshot::channel();
        match self.requests.try_send(Request { key, trained, texts, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(UserError::new(
                    ErrorKind::Busy,
                    "Too many texts wait to be classified already. Try again in a moment.",
                )
                .into());
            }
            Err(TrySendError::Disconnected(_)) => return Err(gone()),
        }
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Classifiers {
    async fn trained(&self, source: AdapterSource) -> Result<Trained> {
        match source {
            AdapterSource::Run(run) => {
                let run = self.runs.finished(run).await?;
                Ok(Trained {
                    base: self.models.base(run.base).await?,
                    adapter: adapter_directory(&run.directory),
                    classifier: run.classifier,
                    batch_size: run.spec.per_device_eval_batch_size as usize,
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
                Ok(Trained {
                    base: self.models.base(adapter.base).await?,
                    adapter: adapter.directory,
                    classifier,
                    batch_size: TrainSpec::default().per_device_eval_batch_size as usize,
                })
            }
        }
    }
}

fn gone() -> ServiceError {
    ServiceError::Panicked("the thread that classifies has ended".to_string())
}

fn check_texts(texts: &[String]) -> std::result::Result<(), UserError> {
    if texts.is_empty() {
        return Err(UserError::invalid("Enter a text to classify."));
    }
    if texts.len() > MAX_TEXTS {
        return Err(UserError::invalid(format!(
            "{} texts are more than the {MAX_TEXTS} that can be classified at once. Send them in parts.",
            texts.len()
        )));
    }
    for (number, text) in (1..).zip(texts) {
        if text.trim().is_empty() {
            return Err(UserError::invalid(format!("Text {number} is empty. Remove it or write something.")));
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(UserError::invalid(format!(
                "Text {number} is {} bytes long; at most {MAX_TEXT_BYTES} are accepted. Shorten it.",
                text.len()
            )));
        }
    }
    Ok(())
}

fn answer_all(models: &Models, requests: &Receiver<Request>) {
    // The last used one stands first.
    let mut open: Vec<(Key, Classifier)> = Vec::new();
    while let Ok(request) = requests.recv() {
        let Request { key, trained, texts, mut answer } = request;
        if answer.is_closed() {
            // Whoever asked has gone.
            continue;
        }
        let answered = catch_unwind(AssertUnwindSafe(|| {
            let classifier = take_open(&mut open, key, &trained, models)?;
            classify(classifier, &texts, trained.batch_size, &mut answer)
        }));
        let answered = answered.unwrap_or_else(|panic| {
            // It may be in any state now.
            open.clear();
            Err(ServiceError::Panicked(words_of(panic.as_ref())))
        });
        if let Some(answered) = answered.transpose() {
            // That nobody waits for the answer any more is no trouble.
            let _ = answer.send(answered);
        }
    }
}

/// The classifier of that key, opened if it is not, at the first place of `open`.
fn take_open<'a>(
    open: &'a mut Vec<(Key, Classifier)>,
    key: Key,
    trained: &Trained,
    models: &Models,
) -> Result<&'a Classifier> {
    let found = match open.iter().position(|(there, _)| *there == key) {
        Some(place) => open.remove(place),
        None => {
            let file = &trained.classifier;
            let base = models.load(&trained.base, file.quantization)?;
            let classifier = if key.with_adapter {
                Classifier::open_as(base, &trained.adapter, file.clone())?
            } else {
                Classifier::base_only(base, &file.prompt_setup())?
            };
            (key, classifier)
        }
    };
    open.insert(0, found);
    open.truncate(OPEN);
    Ok(&open[0].1)
}

/// `None` if whoever asked has gone meanwhile.
fn classify(
    classifier: &Classifier,
    texts: &[String],
    batch_size: usize,
    answer: &mut oneshot::Sender<Result<Classification>>,
) -> Result<Option<Classification>> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let began = Instant::now();
    let predictions = classifier.classify(&texts, batch_size, &mut |_, _| {
        if answer.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let duration_ms = began.elapsed().as_secs_f64() * 1000.0;
    let labels = classifier.labels().to_vec();
    Ok(predictions.map(|predictions| Classification { labels, predictions, duration_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_checked_and_the_bad_one_is_named() {
        let texts = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
        assert!(check_texts(&texts(&["good", "fine"])).is_ok());
        for (texts, word) in [
            (texts(&[]), "Enter a text"),
            (texts(&["good", " \n"]), "Text 2 is empty"),
            (texts(&["good", "fine", &"x".repeat(MAX_TEXT_BYTES + 1)]), "Text 3 is 20001 bytes"),
            (vec!["x".to_string(); MAX_TEXTS + 1], "1001 texts"),
        ] {
            let error = check_texts(&texts).unwrap_err();
            assert!(error.message.contains(word), "{error}");
            assert_eq!(error.kind, ErrorKind::Invalid);
        }
    }
}
