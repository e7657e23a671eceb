//! Why a text gets its label: one thread that takes texts apart and holds the classifiers open that it has used last. It
//! shares the base models with all others.

use crate::classifiers::MAX_TEXT_BYTES;
use crate::error::{Result, ServiceError};
use crate::models::{BasePath, Models};
use crate::runs::Runs;
use crate::worker::words_of;
use domain::attribution::{Attribution, Method};
use domain::catalogue::AdapterSource;
use domain::error::{ErrorKind, UserError};
use domain::spec::TrainSpec;
use engine::Classifier;
use engine::classify::ClassifierFile;
use engine::train::adapter_directory;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use tokio::sync::oneshot;

/// Requests that may wait: each costs as much as classifying a text a hundred times.
const WAITING: usize = 4;
/// Classifiers that stay open.
const OPEN: usize = 2;

/// Clones share the thread, which ends with the last of them.
#[derive(Clone)]
pub struct Explanations {
    runs: Runs,
    models: Models,
    requests: SyncSender<Request>,
}

/// What is to be explained.
#[derive(Clone, Debug)]
pub struct Question {
    pub source: AdapterSource,
    pub text: String,
    /// The label that words speak for or against; `None`: the one that is predicted.
    pub label: Option<usize>,
    pub method: Method,
}

struct Request {
    question: Question,
    base: BasePath,
    adapter: PathBuf,
    file: ClassifierFile,
    answer: oneshot::Sender<Result<Attribution>>,
}

impl Explanations {
    pub(crate) fn start(runs: Runs, models: Models) -> Result<Self> {
        let (requests, waiting) = sync_channel(WAITING);
        let there = models.clone();
        std::thread::Builder::new()
            .name("explanations".to_string())
            .spawn(move || answer_all(&there, &waiting))
            .map_err(|error| ServiceError::io("explanations thread".as_ref(), error))?;
        Ok(Self { runs, models, requests })
    }

    /// What each word of the text does for the label.
    ///
    /// # Errors
    /// The run has not finished, or nobody has said what the adapter answers; the text is empty or too long, or there is
    /// no such label; too many requests wait.
    pub async fn explain(&self, question: Question) -> Result<Attribution> {
        if question.text.trim().is_empty() {
            return Err(UserError::invalid("There is nothing to explain: the text is empty.").into());
        }
        if question.text.len() > MAX_TEXT_BYTES {
            return Err(UserError::invalid(format!(
                "The text is {} bytes long; at most {MAX_TEXT_BYTES} can be explained. Shorten it.",
                question.text.len()
            ))
            .into());
        }
        let (base, adapter, file) = self.trained(question.source).await?;
        if question.label.is_some_and(|label| label >= file.labels.len()) {
            return Err(UserError::invalid(format!("There are {} labels, counted from 0.", file.labels.len())).into());
        }
        let (answer, answered) = oneshot::channel();
        match self.requests.try_send(Request { question, base, adapter, file, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let busy = "Too many texts wait to be explained already. Try again in a moment.";
                return Err(UserError::new(ErrorKind::Busy, busy).into());
            }
            Err(TrySendError::Disconnected(_)) => return Err(gone()),
        }
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn trained(&self, source: AdapterSource) -> Result<(BasePath, PathBuf, ClassifierFile)> {
        match source {
            AdapterSource::Run(run) => {
                let run = self.runs.finished(run).await?;
                Ok((self.models.base(run.base).await?, adapter_directory(&run.directory), run.classifier))
            }
            AdapterSource::Model(model) => {
                let adapter = self.models.adapter(model).await?;
                let file = adapter.classifier.ok_or_else(|| {
                    UserError::conflict(
                        "Nobody has said what this adapter answers, so its answers cannot be explained.",
                    )
                })?;
                Ok((self.models.base(adapter.base).await?, adapter.directory, file))
            }
        }
    }
}

fn gone() -> ServiceError {
    ServiceError::Panicked("the thread that explains has ended".to_string())
}

fn answer_all(models: &Models, requests: &Receiver<Request>) {
    // The last used one stands first.
    let mut open: Vec<(AdapterSource, Classifier)> = Vec::new();
    while let Ok(request) = requests.recv() {
        let Request { question, base, adapter, file, answer } = request;
        if answer.is_closed() {
            // Whoever asked has gone.
            continue;
        }
        let explained = catch_unwind(AssertUnwindSafe(|| -> Result<Option<Attribution>> {
            let found = match open.iter().position(|(source, _)| *source == question.source) {
                Some(place) => open.remove(place),
                None => {
                    let base = models.load(&base, file.quantization)?;
                    (question.source, Classifier::open_as(base, &adapter, file.clone())?)
                }
            };
            open.insert(0, found);
            open.truncate(OPEN);
            let batch_size = TrainSpec::default().per_device_eval_batch_size as usize;
            let Question { text, label, method, .. } = &question;
            let mut go_on = || if answer.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            Ok(open[0].1.attribute(text, *label, *method, batch_size, &mut go_on)?)
        }));
        let explained = explained.unwrap_or_else(|panic| {
            // It may be in any state now.
            open.clear();
            Err(ServiceError::Panicked(words_of(panic.as_ref())))
        });
        if let Some(explained) = explained.transpose() {
            // That nobody waits for the answer any more is no trouble.
            let _ = answer.send(explained);
        }
    }
}
