//! Manifests: what each run was made of, and starting it again from that.

use crate::Clock;
use crate::datasets::{Datasets, blocking};
use crate::db::{Database, json_column, to_json};
use crate::error::{Result, ServiceError};
use crate::hashes::{KnownHashes, hash_adapter, hash_rows};
use crate::models::Models;
use crate::runs::{Dealt, Pins, Runs, log};
use domain::catalogue::{AdapterSource, ModelId, ModelKind, ModelStatus};
use domain::dataset::DatasetId;
use domain::error::{ErrorKind, UserError};
use domain::manifest::{
    MANIFEST_FORMAT, Manifest, ManifestBase, ManifestData, ManifestStart, PinnedDataset, Reproduction, short,
};
use domain::run::{LogLevel, NewRun, RunEvent, RunId};
use domain::split::Split;
use domain::version::VersionNumber;
use engine::train::{Example, TrainRequest};
use sqlx::Row as _;
use std::path::PathBuf;

/// This program, as manifests name it.
pub const PROGRAM: &str = concat!("ayar ", env!("CARGO_PKG_VERSION"));

/// Writing, reading and reproducing. Clones share everything.
#[derive(Clone)]
pub struct Manifests {
    db: Database,
    runs: Runs,
    datasets: Datasets,
    models: Models,
    hashes: KnownHashes,
    clock: Clock,
}

/// The rows that a manifest names.
pub struct ManifestRows {
    pub labels: Vec<String>,
    pub train: Vec<Example>,
    pub validation: Vec<Example>,
    pub test: Vec<Example>,
}

/// What a manifest asks of the runs, once all of it has been found as it was.
struct Found {
    new: NewRun,
    pins: Pins,
    dealt: Dealt,
}

impl Manifests {
    pub(crate) fn new(db: Database, runs: Runs, datasets: Datasets, models: Models, clock: Clock) -> Self {
        let hashes = KnownHashes::new(db.clone());
        Self { db, runs, datasets, models, hashes, clock }
    }

    /// A run's manifest; `None` until it has been taken up for the first time, and of runs from before there were any.
    pub async fn get(&self, run: RunId) -> Result<Option<Manifest>> {
        self.runs.get(run).await?;
        let row = sqlx::query("SELECT manifest FROM run_manifests WHERE run_id = $1 AND manifest IS NOT NULL")
            .bind(run)
            .fetch_optional(&self.db.pool)
            .await?;
        row.map(|row| json_column(&row, "manifest")).transpose()
    }

    /// Puts down what a run is made of when it is taken up. One that is taken up again keeps its first manifest: its rows
    /// and its recipe are pinned, and its first steps were made then.
    pub(crate) async fn write(&self, run: RunId, new: &NewRun, pins: &Pins, request: &TrainRequest) -> Result<()> {
        if self.get(run).await?.is_some() {
            return Ok(());
        }
        let manifest = self.of(new, pins, request).await?;
        sqlx::query(
            "INSERT INTO run_manifests (run_id, manifest) VALUES ($1, $2) ON CONFLICT (run_id) DO UPDATE SET manifest = \
             COALESCE(run_manifests.manifest, $2)",
        )
        .bind(run)
        .bind(to_json(&manifest)?)
        .execute(&self.db.pool)
        .await?;
        Ok(())
    }

    async fn of(&self, new: &NewRun, pins: &Pins, request: &TrainRequest) -> Result<Manifest> {
        let base = self.models.base(new.base_model).await?;
        let start_from = match (&new.start_from, &request.start_from) {
            (Some(source), Some(folder)) => {
                let folder = folder.clone();
                let hash = blocking(move || hash_adapter(&folder)).await?;
                Some(ManifestStart { source: Some(*source), folder: None, hash })
            }
            _ => None,
        };
        let (test, validation) = match new.split {
            Split::OwnTest { test_dataset, validation_dataset, .. } => {
                let test = self.pinned(test_dataset, pins.test).await?;
                let validation = match validation_dataset {
                    Some(id) => Some(self.pinned(id, pins.validation).await?),
                    None => None,
                };
                (Some(test), validation)
            }
            _ => (None, None),
        };
        Ok(Manifest {
            format: MANIFEST_FORMAT,
            name: new.name.clone(),
            program: PROGRAM.to_string(),
            device: self.models.device(),
            data: ManifestData::Datasets {
                dataset: self.pinned(new.dataset_id, Some(pins.dataset)).await?,
                validation,
                test,
                frozen_test: pins.frozen_test,
                split: new.split.clone(),
            },
            train: hash_rows(&request.labels, &request.train),
            validation: hash_rows(&request.labels, &request.validation),
            test: hash_rows(&request.labels, &request.test),
            labels: request.labels.clone(),
            base: ManifestBase {
                id: Some(new.base_model),
                name: self.models.info(new.base_model).await?.name,
                hash: self.hashes.of_base(base.path).await?,
            },
            start_from,
            spec: new.spec.clone(),
            made_at_ms: (self.clock)(),
        })
    }

    async fn pinned(&self, id: DatasetId, version: Option<VersionNumber>) -> Result<PinnedDataset> {
        let version = self.datasets.resolve(id, version).await?;
        let hash = self.datasets.version(id, version).await?.hash;
        Ok(PinnedDataset { id, name: self.datasets.get(id).await?.name, version, hash })
    }

    /// Starts a run again from its own manifest.
    ///
    /// # Errors
    /// It has none yet, or something of it is not as it was; the words name it.
    pub async fn reproduce(&self, run: RunId) -> Result<RunId> {
        let Some(manifest) = self.get(run).await? else {
            return Err(UserError::conflict(
                "This run has no manifest: it has not been taken up yet, or was made by a program that wrote none. Start a \
                 new run like it instead.",
            )
            .into());
        };
        self.start(&manifest, Some(run)).await
    }

    /// Starts a run from a manifest that came as a file.
    ///
    /// # Errors
    /// Something of it is not here, or not as it was; the words name it.
    pub async fn start_from_file(&self, manifest: &Manifest) -> Result<RunId> {
        self.start(manifest, None).await
    }

    async fn start(&self, manifest: &Manifest, of: Option<RunId>) -> Result<RunId> {
        let Found { new, pins, dealt } = self.find(manifest).await?;
        let run = self.runs.start_dealt(new, pins, &dealt, None).await?;
        if let Some(of) = of {
            sqlx::query(
                "INSERT INTO run_manifests (run_id, reproduces) VALUES ($1, $2) ON CONFLICT (run_id) DO UPDATE SET \
                 reproduces = $2",
            )
            .bind(run)
            .bind(of)
            .execute(&self.db.pool)
            .await?;
        }
        let cautions = manifest.cautions(PROGRAM, &self.models.device());
        let (level, words) = if cautions.is_empty() {
            (LogLevel::Info, "Started from a manifest, all of which is as it was.".to_string())
        } else {
            let words = format!("Started from a manifest. The numbers may differ: {}.", cautions.join("; "));
            (LogLevel::Warning, words)
        };
        self.runs.tell(run, log(level, words)).await?;
        Ok(run)
    }

    /// The rows that a manifest names, for training outside the queue.
    ///
    /// # Errors
    /// A dataset, or a version of one, is not here, or has other rows.
    pub async fn rows(&self, manifest: &Manifest) -> Result<ManifestRows> {
        let (new, pins) = self.find_data(manifest).await?;
        let Dealt { labels, train, validation, test, .. } = self.dealt_as_told(manifest, &new, &pins).await?;
        Ok(ManifestRows { labels, train, validation, test })
    }

    async fn find(&self, manifest: &Manifest) -> Result<Found> {
        let (new, pins) = self.find_data(manifest).await?;
        let base_model = self.find_base(&manifest.base).await?;
        let start_from = match &manifest.start_from {
            Some(start) => Some(self.find_start(start).await?),
            None => None,
        };
        let dealt = self.dealt_as_told(manifest, &new, &pins).await?;
        Ok(Found { new: NewRun { base_model, start_from, ..new }, pins, dealt })
    }

    async fn find_data(&self, manifest: &Manifest) -> Result<(NewRun, Pins)> {
        manifest.check()?;
        let ManifestData::Datasets { dataset, validation, test, frozen_test, split } = &manifest.data else {
            return Err(UserError::invalid(
                "This manifest names files of the command line. Use it there: ayar train --manifest FILE --out DIR.",
            )
            .into());
        };
        for pinned in [Some(dataset), validation.as_ref(), test.as_ref()].into_iter().flatten() {
            self.require(pinned).await?;
        }
        if let Some(id) = frozen_test
            && self.datasets.frozen_rows(*id).await.is_err()
        {
            return Err(
                UserError::conflict(format!("The frozen test set number {id} is gone. Nothing was started.")).into()
            );
        }
        let of = |pinned: &Option<PinnedDataset>| pinned.as_ref().map(|pinned| pinned.version);
        let pins =
            Pins { dataset: dataset.version, test: of(test), validation: of(validation), frozen_test: *frozen_test };
        let new = NewRun {
            name: manifest.name.clone(),
            dataset_id: dataset.id,
            dataset_version: Some(dataset.version),
            split: split.clone(),
            spec: manifest.spec.clone(),
            base_model: domain::catalogue::OWN_MODEL,
            start_from: None,
            time_limit_minutes: None,
        };
        Ok((new, pins))
    }

    async fn require(&self, pinned: &PinnedDataset) -> Result<()> {
        let PinnedDataset { id, name, version, hash } = pinned;
        let missing = |what: String| -> ServiceError { UserError::conflict(what).into() };
        let gone = |error: ServiceError, what: String| match UserError::from(error) {
            error if error.kind == ErrorKind::NotFound => missing(what),
            error => error.into(),
        };
        if let Err(error) = self.datasets.get(*id).await {
            return Err(gone(error, format!("The dataset \"{name}\" (number {id}) is gone. Nothing was started.")));
        }
        let now = match self.datasets.version(*id, *version).await {
            Ok(now) => now,
            Err(error) => {
                let words = format!("Version {version} of dataset \"{name}\" is gone. Nothing was started.");
                return Err(gone(error, words));
            }
        };
        if now.hash != *hash {
            return Err(missing(format!(
                "Version {version} of dataset number {id} (\"{name}\") has other rows: its hash is {}, and was {}. Nothing \
                 was started.",
                short(&now.hash),
                short(hash)
            )));
        }
        Ok(())
    }

    /// The base with that hash: under the number that it had, or else wherever it is.
    async fn find_base(&self, wanted: &ManifestBase) -> Result<ModelId> {
        let mut found = None;
        let mut models = self.models.list().await?;
        models.retain(|model| model.kind == ModelKind::Base && model.status == ModelStatus::Ready);
        models.sort_by_key(|model| Some(model.id) != wanted.id);
        for model in &models {
            // One whose files have gone since cannot be the one.
            let Ok(base) = self.models.base(model.id).await else { continue };
            let hash = self.hashes.of_base(base.path).await?;
            if hash == wanted.hash {
                return Ok(model.id);
            }
            if Some(model.id) == wanted.id {
                found = Some(hash);
            }
        }
        let what = match found {
            Some(hash) => format!("the model in its place has the hash {}", short(&hash)),
            None => "there is no model in its place".to_string(),
        };
        Err(UserError::conflict(format!(
            "The base model {} with the hash {} is not here: {what}. Nothing was started.",
            wanted.name,
            short(&wanted.hash)
        ))
        .into())
    }

    async fn find_start(&self, start: &ManifestStart) -> Result<AdapterSource> {
        let Some(source) = start.source else {
            return Err(UserError::invalid(
                "This manifest began from an adapter in a folder of the command line. Use it there: ayar train --manifest.",
            )
            .into());
        };
        let folder: PathBuf = self.runs.adapter_folder(source).await?.1;
        let hash = blocking(move || hash_adapter(&folder)).await?;
        if hash != start.hash {
            return Err(UserError::conflict(format!(
                "The adapter that the run began from has changed: its hash is {}, and was {}. Nothing was started.",
                short(&hash),
                short(&start.hash)
            ))
            .into());
        }
        Ok(source)
    }

    async fn dealt_as_told(&self, manifest: &Manifest, new: &NewRun, pins: &Pins) -> Result<Dealt> {
        let dealt = self.runs.deal(new, pins).await?;
        if dealt.labels != manifest.labels {
            return Err(UserError::conflict(format!(
                "The labels are {}, and were {}. Nothing was started.",
                dealt.labels.join(", "),
                manifest.labels.join(", ")
            ))
            .into());
        }
        manifest.train.require("training", &hash_rows(&dealt.labels, &dealt.train))?;
        manifest.validation.require("validation", &hash_rows(&dealt.labels, &dealt.validation))?;
        manifest.test.require("test", &hash_rows(&dealt.labels, &dealt.test))?;
        Ok(dealt)
    }

    /// How a run that was started from another's manifest compares with that one; `None` of any other run.
    pub async fn reproduction(&self, run: RunId) -> Result<Option<Reproduction>> {
        let row = sqlx::query("SELECT reproduces FROM run_manifests WHERE run_id = $1 AND reproduces IS NOT NULL")
            .bind(run)
            .fetch_optional(&self.db.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let of: RunId = row.try_get("reproduces")?;
        let of_name = self.runs.get(of).await?.summary.name;
        let (here, there) = (self.runs.picture(run).await?, self.runs.picture(of).await?);
        let pairs = || here.steps.iter().zip(&there.steps);
        let other = pairs().find(|(one, other)| {
            (one.step, one.loss.to_bits(), one.grad_norm.to_bits())
                != (other.step, other.loss.to_bits(), other.grad_norm.to_bits())
        });
        let (here, there) = (self.runs.predictions(run).await?, self.runs.predictions(of).await?);
        let is_whole = !here.is_empty() && here.len() == there.len();
        let differ = || here.iter().zip(&there).filter(|(one, other)| one.after != other.after).count() as u64;
        Ok(Some(Reproduction {
            of,
            of_name,
            steps_compared: pairs().count() as u64,
            first_other_step: other.map(|(one, _)| one.step),
            other_predictions: is_whole.then(differ),
        }))
    }
}

/// What is told when a manifest could not be written: no reason to lose a run.
pub(crate) fn not_written(error: &ServiceError) -> RunEvent {
    log(LogLevel::Warning, format!("The manifest of this run could not be written: {}", error.reason()))
}
