//! The models that runs can begin from: the server's own, those on the disk, and those that are fetched from the Hub.
//!
//! The table `models` is the catalogue and the queue of downloads; this file alone writes `models.status`.

mod check;
mod contents;
mod downloads;
mod loaded;
mod rate;
mod token;

use crate::Clock;
use crate::datasets::blocking;
use crate::db::{Database, json_column, to_json};
use crate::error::{Result, ServiceError};
use crate::files::Files;
use crate::hub::{Hub, HubSettings};
use contents::{Contents, bytes_on_disk};
use domain::catalogue::{
    AdapterInfo, DownloadProgress, ModelAction, ModelCheck, ModelId, ModelKind, ModelStatus, ModelSummary, NewModel,
    OWN_MODEL,
};
use domain::error::UserError;
use domain::hub::HubAddress;
use domain::model::{BaseModelInfo, DeviceInfo};
use domain::spec::{Quantization, TrainSpec};
use domain::template::PromptTemplate;
use downloads::Under;
use engine::classify::ClassifierFile;
use engine::{BaseModel, BaseReader, Device, device};
use loaded::LoadedModels;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use token::TokenFile;
use tokio::sync::Notify;

/// Most models that the catalogue takes.
const MAX_MODELS: i64 = 1000;

/// Clones share the catalogue and the loaded models.
#[derive(Clone)]
pub struct Models {
    inner: Arc<Inner>,
}

struct Inner {
    db: Database,
    clock: Clock,
    own: OwnModel,
    device: Device,
    device_info: DeviceInfo,
    loaded: LoadedModels,
    /// The last one that was asked for beside the server's own.
    reader: Mutex<Option<(ModelId, BaseReader)>>,
    /// Folders below which models on the disk may lie.
    folders: Vec<PathBuf>,
    hub: HubSettings,
    token: TokenFile,
    /// The download that is under way.
    under: Mutex<Option<Under>>,
    /// Wakes the thread that downloads.
    queued: Notify,
}

/// The model that the server was started with.
struct OwnModel {
    path: PathBuf,
    contents: Contents,
    first: Arc<BaseModel>,
    bytes: u64,
}

/// What [`Models`] is made of.
pub(crate) struct ModelsParts {
    pub db: Database,
    pub files: Files,
    pub clock: Clock,
    pub own: PathBuf,
    pub folders: Vec<PathBuf>,
    pub device: Device,
    pub hub: HubSettings,
}

/// An adapter of the catalogue, as a run or a classifier uses it.
pub(crate) struct CatalogueAdapter {
    pub base: ModelId,
    pub directory: PathBuf,
    /// What it was trained with; `None` where nobody has said.
    pub classifier: Option<ClassifierFile>,
}

impl Models {
    /// Loads the server's own model once onto the device, as most runs want it, so that a broken file is found at the
    /// start and not by a run. Blocks.
    pub(crate) fn open(parts: ModelsParts) -> Result<Self> {
        let ModelsParts { db, files, clock, own, folders, device, hub } = parts;
        if !own.exists() {
            return Err(UserError::not_found(format!(
                "The base model {} is not there. Name a GGUF file, or a folder with config.json and safetensors files.",
                own.display()
            ))
            .into());
        }
        let first = Arc::new(BaseModel::load(&own, Quantization::Nf4, &device)?);
        let has_chat_template = first.tokenizer().chat_template().is_some();
        let own = OwnModel {
            bytes: bytes_on_disk(&own),
            contents: Contents::Base { info: first.info().clone(), has_chat_template },
            path: own,
            first: first.clone(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                db,
                clock,
                own,
                device_info: device::describe(&device),
                loaded: LoadedModels::new(device.clone(), first),
                device,
                reader: Mutex::default(),
                folders,
                hub,
                token: TokenFile::new(files.hub_token()),
                under: Mutex::default(),
                queued: Notify::new(),
            }),
        })
    }

    pub fn device(&self) -> DeviceInfo {
        self.inner.device_info.clone()
    }

    /// All of them, the server's own first, then the newest.
    pub async fn list(&self) -> Result<Vec<ModelSummary>> {
        let rows = sqlx::query(SUMMARY).bind(-1_i64).fetch_all(&self.inner.db.pool).await?;
        let names = self.names(&rows)?;
        let mut models = vec![self.own_summary().await?];
        for row in &rows {
            models.push(self.summary_from(row, &names)?);
        }
        Ok(models)
    }

    /// # Errors
    /// There is no such model.
    pub async fn get(&self, id: ModelId) -> Result<ModelSummary> {
        let model = self.list().await?.into_iter().find(|model| model.id == id);
        model.ok_or_else(|| no_such_model(id))
    }

    /// # Errors
    /// There is no such base, or it is not ready.
    pub async fn info(&self, id: ModelId) -> Result<BaseModelInfo> {
        match self.contents(id).await? {
            Contents::Base { info, .. } => Ok(info),
            Contents::Adapter { .. } => {
                Err(UserError::invalid("This is an adapter. Choose a whole model as the base.").into())
            }
        }
    }

    /// Whether it is the machine's own memory that runs need.
    pub(crate) fn trains_on_cpu(&self) -> bool {
        matches!(self.inner.device, Device::Cpu)
    }

    /// What adding it would mean, before anything is queued.
    ///
    /// # Errors
    /// The words are neither an address nor a path, or the Hub cannot be asked.
    pub async fn check(&self, source: &str) -> Result<ModelCheck> {
        let (models, source) = (self.clone(), source.trim().to_string());
        blocking(move || models.check_now(&source)).await
    }

    /// Puts a model into the catalogue: one on the disk is ready at once, one on the Hub is fetched when its turn
    /// comes.
    ///
    /// # Errors
    /// Its check found a problem, it is there already, or an adapter's base or labels do not fit.
    pub async fn add(&self, new: NewModel) -> Result<ModelId> {
        let check = self.check(&new.source).await?;
        if !check.problems.is_empty() {
            return Err(UserError::invalid(check.problems.join(" ")).into());
        }
        if check.kind == ModelKind::Adapter {
            self.check_adapter(&new).await?;
        }
        let from_hub = check.hub.is_some();
        let (status, path, contents) = if from_hub {
            (ModelStatus::Waiting, None, None)
        } else {
            let path = PathBuf::from(&check.source);
            let read = path.clone();
            let contents = blocking(move || Contents::read(&read)).await?;
            (ModelStatus::Ready, Some(path), Some(contents))
        };
        let bytes = match (&check.hub, &path) {
            (Some(hub), _) => hub.total_bytes,
            (None, Some(path)) => bytes_on_disk(path),
            (None, None) => 0,
        };
        let id = self.inner.db.next_number("model").await?;
        let mut transaction = self.inner.db.begin_write().await?;
        let row = sqlx::query(
            "SELECT COUNT(*) AS models, COALESCE(SUM(CASE WHEN source = $1 THEN 1 ELSE 0 END), 0) AS same FROM models",
        )
        .bind(&check.source)
        .fetch_one(&mut *transaction)
        .await?;
        if row.try_get::<i64, _>("same")? > 0 {
            return Err(UserError::conflict(format!("{} is in the catalogue already.", check.source)).into());
        }
        if row.try_get::<i64, _>("models")? >= MAX_MODELS {
            return Err(UserError::conflict("The catalogue is full. Remove models that nobody uses.").into());
        }
        sqlx::query(
            "INSERT INTO models (id, source, kind, status, request, path, contents, total_bytes, done_bytes, \
             added_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(id)
        .bind(&check.source)
        .bind(check.kind.as_str())
        .bind(status.as_str())
        .bind(to_json(&new)?)
        .bind(path.map(|path| path.to_string_lossy().into_owned()))
        .bind(contents.as_ref().map(to_json).transpose()?)
        .bind(bytes as i64)
        .bind(if from_hub { 0 } else { bytes as i64 })
        .bind((self.inner.clock)())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.inner.queued.notify_one();
        Ok(id)
    }

    /// Ends a download for now. What has come is kept.
    pub async fn pause(&self, id: ModelId) -> Result<()> {
        self.transition(id, ModelAction::Pause, None).await?;
        Ok(())
    }

    /// Goes on with a download that was paused or has failed.
    pub async fn resume(&self, id: ModelId) -> Result<()> {
        self.transition(id, ModelAction::Resume, None).await?;
        self.inner.queued.notify_one();
        Ok(())
    }

    /// Takes a model out of the catalogue, and what was fetched of it from the disk. Files that were there before the
    /// model was added stay.
    ///
    /// # Errors
    /// It is the server's own, or runs and adapters need it.
    pub async fn remove(&self, id: ModelId) -> Result<()> {
        let model = self.get(id).await?;
        if id == OWN_MODEL {
            return Err(UserError::conflict("The server's own model cannot be removed.").into());
        }
        if model.runs > 0 {
            return Err(UserError::conflict(format!(
                "{} began from {}, and could not classify any more without it.",
                if model.runs == 1 { "A run".to_string() } else { format!("{} runs", model.runs) },
                model.source
            ))
            .into());
        }
        let all = self.list().await?;
        let adapters = all.iter().filter(|other| other.adapter.as_ref().is_some_and(|adapter| adapter.base == id));
        if let Some(adapter) = adapters.into_iter().next() {
            return Err(UserError::conflict(format!(
                "The adapter {} belongs on it. Remove that first.",
                adapter.source
            ))
            .into());
        }
        if model.status.is_moving() {
            self.pause(id).await?;
            self.wait_until_idle(id).await;
        }
        sqlx::query("DELETE FROM models WHERE id = $1").bind(id).execute(&self.inner.db.pool).await?;
        self.inner.loaded.forget(id);
        let Ok(address) = HubAddress::parse(&model.source) else { return Ok(()) };
        let shared = all
            .iter()
            .filter(|other| other.id != id)
            .any(|other| HubAddress::parse(&other.source).is_ok_and(|other| other.repo == address.repo));
        if model.from_hub && !shared {
            let hub = self.hub();
            blocking(move || Ok(hub.remove_cached(&address.repo).map_err(UserError::from)?)).await?;
        }
        Ok(())
    }

    /// The base with its weights held that way. Blocks while it is loaded for the first time.
    pub(crate) fn load(&self, base: &BasePath, quantization: Quantization) -> Result<Arc<BaseModel>> {
        self.inner.loaded.get(base.id, &base.path, quantization)
    }

    /// What of a base prompts are made with; its weights stay on the disk. Blocks while it is read for the first time.
    pub(crate) fn reader(&self, base: &BasePath) -> Result<BaseReader> {
        if base.id == OWN_MODEL {
            return Ok(self.inner.own.first.reader().clone());
        }
        let mut last = self.inner.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((id, reader)) = last.as_ref()
            && *id == base.id
        {
            return Ok(reader.clone());
        }
        let reader = BaseReader::open(&base.path)?;
        *last = Some((base.id, reader.clone()));
        Ok(reader)
    }

    /// Where a base lies.
    ///
    /// # Errors
    /// There is no such base, it is not ready, or its files have gone since.
    pub(crate) async fn base(&self, id: ModelId) -> Result<BasePath> {
        let path = self.path(id).await?;
        if !path.exists() {
            return Err(UserError::conflict(format!(
                "The base model {} is not on the disk any more. Put it back, or fetch it again on the page of models.",
                path.display()
            ))
            .into());
        }
        Ok(BasePath { id, path })
    }

    /// An adapter of the catalogue.
    ///
    /// # Errors
    /// There is no such adapter, or it is not ready.
    pub(crate) async fn adapter(&self, id: ModelId) -> Result<CatalogueAdapter> {
        let row = self.row(id).await?;
        let directory = ready_path(&row)?;
        let Contents::Adapter { classifier, .. } = json_column(&row, "contents")? else {
            return Err(UserError::invalid(format!("Model number {id} is no adapter.")).into());
        };
        let request: NewModel = json_column(&row, "request")?;
        let base = self.info(request.base).await?;
        let classifier = match classifier {
            Some(classifier) => Some(classifier),
            None => self.classifier_of(&request, &base)?,
        };
        Ok(CatalogueAdapter { base: request.base, directory, classifier })
    }

    /// As the person has described an adapter of others.
    fn classifier_of(&self, request: &NewModel, base: &BaseModelInfo) -> Result<Option<ClassifierFile>> {
        if request.labels.is_empty() {
            return Ok(None);
        }
        let prompt_template = match &request.prompt_template {
            Some(template) => PromptTemplate::parse(template)?,
            None => PromptTemplate::default(),
        };
        let spec = TrainSpec { prompt_template, ..TrainSpec::default() };
        let max_length = (spec.max_length as usize).min(base.context_length);
        Ok(Some(ClassifierFile {
            labels: request.labels.clone(),
            prompt_template: spec.prompt_template,
            max_length,
            quantization: spec.quantization,
            base_model: base.name.clone(),
            use_chat_template: false,
            temperature: None,
        }))
    }

    async fn check_adapter(&self, new: &NewModel) -> Result<()> {
        self.info(new.base).await?;
        if let Some(template) = &new.prompt_template {
            PromptTemplate::parse(template)?;
        }
        let labels = &new.labels;
        let distinct: std::collections::HashSet<&str> = labels.iter().map(|label| label.trim()).collect();
        if labels.len() == 1 || distinct.len() != labels.len() || labels.iter().any(|label| label.trim().is_empty()) {
            return Err(UserError::invalid("Name at least two labels, each another one, or none at all.").into());
        }
        Ok(())
    }

    /// Moves a model to the status that follows from the action.
    ///
    /// # Errors
    /// The action is not possible in the model's present status.
    async fn transition(&self, id: ModelId, action: ModelAction, failure: Option<String>) -> Result<ModelStatus> {
        let mut transaction = self.inner.db.begin_write().await?;
        let row = sqlx::query("SELECT status, source FROM models WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
        let row = row.ok_or_else(|| no_such_model(id))?;
        let status = status_from(&row)?;
        let Some(next) = status.after(action) else {
            let source: String = row.try_get("source")?;
            return Err(UserError::conflict(format!("{source} is {} already.", status.as_str())).into());
        };
        let changed = sqlx::query("UPDATE models SET status = $2, failure = $3 WHERE id = $1 AND status = $4")
            .bind(id)
            .bind(next.as_str())
            .bind(failure)
            .bind(status.as_str())
            .execute(&mut *transaction)
            .await?;
        if changed.rows_affected() != 1 {
            return Err(UserError::conflict("The model has just changed. Look at it again.").into());
        }
        transaction.commit().await?;
        Ok(next)
    }

    async fn path(&self, id: ModelId) -> Result<PathBuf> {
        if id == OWN_MODEL {
            return Ok(self.inner.own.path.clone());
        }
        ready_path(&self.row(id).await?)
    }

    async fn contents(&self, id: ModelId) -> Result<Contents> {
        if id == OWN_MODEL {
            return Ok(self.inner.own.contents.clone());
        }
        let row = self.row(id).await?;
        ready_path(&row)?;
        json_column(&row, "contents")
    }

    async fn row(&self, id: ModelId) -> Result<AnyRow> {
        let rows = sqlx::query(SUMMARY).bind(id).fetch_optional(&self.inner.db.pool).await?;
        rows.ok_or_else(|| no_such_model(id))
    }

    async fn own_summary(&self) -> Result<ModelSummary> {
        let row = sqlx::query("SELECT COUNT(*) AS runs FROM runs WHERE base_model_id = $1")
            .bind(OWN_MODEL)
            .fetch_one(&self.inner.db.pool)
            .await?;
        let OwnModel { path, contents, bytes, .. } = &self.inner.own;
        let mut summary = ModelSummary {
            id: OWN_MODEL,
            kind: ModelKind::Base,
            status: ModelStatus::Ready,
            source: path.display().to_string(),
            from_hub: false,
            commit: None,
            info: None,
            adapter: None,
            has_chat_template: false,
            total_bytes: *bytes,
            done_bytes: *bytes,
            download: None,
            failure: None,
            added_at_ms: 0,
            runs: row.try_get::<i64, _>("runs")? as u64,
        };
        if let Contents::Base { info, has_chat_template } = contents {
            summary.info = Some(info.clone());
            summary.has_chat_template = *has_chat_template;
        }
        Ok(summary)
    }

    /// Names of the bases that are ready.
    fn names(&self, rows: &[AnyRow]) -> Result<HashMap<ModelId, String>> {
        let mut names = HashMap::from([(OWN_MODEL, self.inner.own.first.info().name.clone())]);
        for row in rows {
            if let Some(Contents::Base { info, .. }) = contents_from(row)? {
                names.insert(row.try_get("id")?, info.name);
            }
        }
        Ok(names)
    }

    fn summary_from(&self, row: &AnyRow, names: &HashMap<ModelId, String>) -> Result<ModelSummary> {
        let id: ModelId = row.try_get("id")?;
        let source: String = row.try_get("source")?;
        let kind: String = row.try_get("kind")?;
        let request: NewModel = json_column(row, "request")?;
        let download = self.progress(id);
        let stored_bytes = row.try_get::<i64, _>("done_bytes")? as u64;
        let done_bytes =
            download.as_ref().map_or(stored_bytes, |download| download.files.iter().map(|file| file.done_bytes).sum());
        let (mut info, mut adapter, mut has_chat_template) = (None, None, false);
        match contents_from(row)? {
            None => {}
            Some(Contents::Base { info: found, has_chat_template: found_template }) => {
                info = Some(found);
                has_chat_template = found_template;
            }
            Some(Contents::Adapter { r, classifier, .. }) => {
                let base_name = names.get(&request.base).cloned().unwrap_or_default();
                let labels = classifier.map_or(request.labels, |classifier| classifier.labels);
                adapter = Some(AdapterInfo { base: request.base, base_name, r, labels });
            }
        }
        Ok(ModelSummary {
            id,
            kind: ModelKind::parse(&kind).unwrap_or(ModelKind::Base),
            status: status_from(row)?,
            from_hub: !source.starts_with('/'),
            source,
            commit: row.try_get("commit_hash")?,
            info,
            adapter,
            has_chat_template,
            total_bytes: row.try_get::<i64, _>("total_bytes")? as u64,
            done_bytes,
            download,
            failure: row.try_get("failure")?,
            added_at_ms: row.try_get("added_at_ms")?,
            runs: row.try_get::<i64, _>("runs")? as u64,
        })
    }

    /// Of the download that is under way.
    fn progress(&self, id: ModelId) -> Option<DownloadProgress> {
        let under = self.inner.under.lock().unwrap_or_else(PoisonError::into_inner);
        under.as_ref().filter(|under| under.model == id).map(Under::progress)
    }

    fn hub(&self) -> Hub {
        let hub = Hub::new(self.inner.hub.clone());
        match self.inner.token.read() {
            Some(token) => hub.with_token(token),
            None => hub,
        }
    }

    /// The Hub with the token that was typed, as exports and datasets ask it.
    pub(crate) fn hub_of_the_team(&self) -> Hub {
        self.hub()
    }

    pub(crate) fn on(&self) -> &Device {
        &self.inner.device
    }
}

/// A base on the disk.
#[derive(Clone, Debug)]
pub(crate) struct BasePath {
    pub id: ModelId,
    pub path: PathBuf,
}

const SUMMARY: &str = "SELECT m.*, (SELECT COUNT(*) FROM runs r WHERE r.base_model_id = m.id) AS runs FROM models m \
                       WHERE m.id = $1 OR $1 < 0 ORDER BY m.id DESC";

fn contents_from(row: &AnyRow) -> Result<Option<Contents>> {
    let json: Option<String> = row.try_get("contents")?;
    json.map(|json| serde_json::from_str(&json).map_err(|error| ServiceError::stored("contents", error))).transpose()
}

fn ready_path(row: &AnyRow) -> Result<PathBuf> {
    let status = status_from(row)?;
    let path: Option<String> = row.try_get("path")?;
    match path {
        Some(path) if status == ModelStatus::Ready => Ok(PathBuf::from(path)),
        _ => {
            let source: String = row.try_get("source")?;
            Err(UserError::conflict(format!("{source} is {}; it cannot be used yet.", status.as_str())).into())
        }
    }
}

fn status_from(row: &AnyRow) -> Result<ModelStatus> {
    let word: String = row.try_get("status")?;
    ModelStatus::parse(&word)
        .ok_or_else(|| sqlx::Error::Decode(format!("\"{word}\" is no status of a model").into()).into())
}

fn no_such_model(id: ModelId) -> ServiceError {
    UserError::not_found(format!("There is no model number {id}.")).into()
}

/// A path, and no address on the Hub: absolute, or beginning with a dot.
fn is_path(source: &str) -> bool {
    Path::new(source).is_absolute() || source.starts_with("./") || source.starts_with("../")
}
