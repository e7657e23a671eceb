//! Models from the Hub and from the disk, on to runs, exports and back to the Hub.

use crate::hub::{Access, HubOptions, READER, TestHub, WRITER};
use crate::support::{Place, import, small_run, told, wait_for_status, weather};
use domain::catalogue::{
    AdapterSource, ExportStatus, ExportSummary, ModelId, ModelKind, ModelStatus, ModelSummary, NewModel, OWN_MODEL,
    PushState, TokenSource,
};
use domain::error::ErrorKind;
use domain::export::{ExportKind, GgufType, MergeInto};
use domain::hub::HubAccess;
use domain::run::{NewRun, RunId, RunStatus};
use domain::spec::TrainSpec;
use service::hub::{HubSettings, HubToken};
use service::{Service, ServiceConfig};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A Hub of the test's own, and a service that asks it.
struct World {
    place: Place,
    hub: Option<TestHub>,
    token: Option<&'static str>,
}

impl World {
    fn new(options: HubOptions, token: Option<&'static str>) -> Self {
        // The Hub has a runtime of its own, which cannot begin or end within the test's.
        let hub = std::thread::spawn(|| TestHub::start(options)).join().unwrap();
        Self { place: Place::new(), hub: Some(hub), token }
    }

    fn hub(&self) -> &TestHub {
        self.hub.as_ref().unwrap()
    }

    async fn open(&self) -> Service {
        let hub = HubSettings {
            endpoint: self.hub().endpoint(),
            token: self.token.map(|token| HubToken::parse(token).unwrap()),
            cache: self.place.path().join("cache"),
            offline: false,
        };
        let config = ServiceConfig { hub, model_folders: vec![fixtures()], ..self.place.config() };
        Service::open(config).await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let hub = self.hub.take();
        std::thread::spawn(move || drop(hub)).join().unwrap();
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures")
}

fn tiny_gguf(family: &str) -> Vec<u8> {
    std::fs::read(fixtures().join("families").join(family).join("model.gguf")).unwrap()
}

/// As Hugging Face stores it, with the tokenizer of the GGUF file.
fn tiny_folder(family: &str) -> Vec<(String, Vec<u8>)> {
    let source = fixtures().join("families").join(family);
    let folder = tempfile::tempdir().unwrap();
    let files = engine::weights::model_files::ModelFiles::open(&source.join("model.gguf")).unwrap();
    files.tokenizer().unwrap().write_files(folder.path()).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(source.join(name), folder.path().join(name)).unwrap();
    }
    let entries = std::fs::read_dir(folder.path()).unwrap().flatten();
    entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
}

fn named(source: &str) -> NewModel {
    NewModel { source: source.to_string(), base: OWN_MODEL, labels: Vec::new(), prompt_template: None }
}

/// Until it is ready; a failure is told.
async fn ready(service: &Service, id: ModelId) -> ModelSummary {
    loop {
        let model = service.models.get(id).await.unwrap();
        match model.status {
            ModelStatus::Ready => return model,
            ModelStatus::Failed => panic!("{:?}", model.failure),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn exported(service: &Service, run: RunId, kind: ExportKind) -> ExportSummary {
    let id = service.exports.start(run, kind, MergeInto::AsTrained).await.unwrap();
    loop {
        let export = service.exports.list(run).await.unwrap().into_iter().find(|export| export.id == id).unwrap();
        match export.status {
            ExportStatus::Ready => return export,
            ExportStatus::Failed => panic!("{:?}", export.failure),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn pushed(service: &Service, export: &ExportSummary) {
    loop {
        let exports = service.exports.list(export.run).await.unwrap();
        let push = exports.into_iter().find(|other| other.id == export.id).unwrap().push.unwrap();
        match push.state {
            PushState::Done { .. } => return,
            PushState::Failed { reason } => panic!("{reason}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn run_on(base: ModelId, dataset: i64) -> NewRun {
    let new = small_run(dataset, 1);
    let spec = TrainSpec { learning_rate: 0.05, ..new.spec };
    NewRun { base_model: base, spec, ..new }
}

/// Fetched, trained on, exported, loaded again, pushed, fetched again: the answers stay the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_the_hub_goes_all_the_way_round() {
    let world = World::new(HubOptions::default(), Some(WRITER));
    let service = world.open().await;
    let dataset = import(&service, "weather.csv", &weather(60)).await;
    let embedded = std::fs::read(world.place.config().base_model).unwrap();
    world.hub().put("ada/qwen3", &[("model.gguf", &tiny_gguf("qwen3")), ("README.md", b"Tiny")]);
    world.hub().put("ada/tohum", &[("model.gguf", &embedded)]);
    let folder = tiny_folder("llama31");
    let files: Vec<_> = folder.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    world.hub().put("ada/llama31", &files);
    let folder_bytes = folder.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    for (name, source, bytes) in [
        ("qwen3", "ada/qwen3/model.gguf", tiny_gguf("qwen3").len()),
        ("llama31", "ada/llama31", folder_bytes),
        ("tohum", "ada/tohum/model.gguf", embedded.len()),
    ] {
        let check = service.models.check(source).await.unwrap();
        assert_eq!((check.kind, check.problems.len()), (ModelKind::Base, 0), "{check:?}");
        assert_eq!(check.hub.unwrap().missing_bytes, bytes as u64);
        let base = service.models.add(named(source)).await.unwrap();
        let model = ready(&service, base).await;
        assert_eq!((model.total_bytes, model.done_bytes), (bytes as u64, bytes as u64));
        assert!(model.commit.is_some() && model.info.unwrap().parameters > 10_000);

        let run = service.runs.start(run_on(base, dataset.id)).await.unwrap();
        wait_for_status(&service, run, 0, RunStatus::Finished).await;
        let texts = vec!["day 7: the sun is warm".to_string(), "rain again".to_string()];
        let answers = service.classifiers.classify(AdapterSource::Run(run), texts.clone()).await.unwrap();

        for kind in [ExportKind::Adapter, ExportKind::Safetensors, ExportKind::Gguf(GgufType::F16)] {
            let export = exported(&service, run, kind).await;
            let parity = export.parity.clone().unwrap();
            assert!(parity.rows > 0 && parity.changed_labels == 0, "{name} {kind:?}: {parity:?}");
            let allowed = if kind == ExportKind::Adapter { 0.0 } else { 0.02 };
            assert!(parity.largest_probability_difference <= allowed, "{name} {kind:?}: {parity:?}");
            for file in &export.files {
                let path = service.exports.file(run, export.id, &file.name).await.unwrap();
                assert_eq!(std::fs::metadata(path).unwrap().len(), file.bytes);
            }
            assert!(service.exports.file(run, export.id, "../../ayar.db").await.is_err());
            if kind != ExportKind::Adapter {
                continue;
            }
            let result = format!("writer/{name}");
            service.exports.push(export.id, result.clone(), true).await.unwrap();
            pushed(&service, &export).await;
            assert_eq!(world.hub().access(&result), Access::Private);
            assert_eq!(world.hub().commits(&result).len(), 2, "one commit beside that of the new repository");
            assert!(world.hub().files(&result, "main").contains_key("README.md"));
            let again = service.models.add(NewModel { base, ..named(&result) }).await.unwrap();
            let again = ready(&service, again).await;
            assert_eq!(again.adapter.as_ref().unwrap().labels, answers.labels);
            let theirs = service.classifiers.classify(AdapterSource::Model(again.id), texts.clone()).await.unwrap();
            assert_eq!(theirs.predictions, answers.predictions);

            // It is trained further, from where it stands.
            let further = NewRun { start_from: Some(AdapterSource::Model(again.id)), ..run_on(base, dataset.id) };
            let further = service.runs.start(further).await.unwrap();
            wait_for_status(&service, further, 0, RunStatus::Finished).await;
            let (first, second) =
                (service.runs.picture(run).await.unwrap(), service.runs.picture(further).await.unwrap());
            assert_eq!(second.before.unwrap().log_loss, first.after.unwrap().log_loss, "{name}");
        }
        // What runs began from stays.
        let refused = told(service.models.remove(base).await.unwrap_err());
        assert!(refused.kind == ErrorKind::Conflict && refused.message.contains("2 runs"), "{refused}");
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_paused_survives_a_restart_and_goes_on() {
    let options = HubOptions { bytes_per_second: Some(8 << 20), ..HubOptions::default() };
    let world = World::new(options, None);
    let embedded = std::fs::read(world.place.config().base_model).unwrap();
    world.hub().put("ada/base", &[("base.gguf", &embedded)]);
    let service = world.open().await;
    let id = service.models.add(named("ada/base/base.gguf")).await.unwrap();
    let coming = |service: Service| async move {
        loop {
            let model = service.models.get(id).await.unwrap();
            if model.download.as_ref().is_some_and(|download| download.bytes_per_second > 0.0) {
                return model;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let model = coming(service.clone()).await;
    assert_eq!(model.status, ModelStatus::Downloading);
    assert!(model.done_bytes < embedded.len() as u64);
    service.models.pause(id).await.unwrap();
    let refused = told(service.models.pause(id).await.unwrap_err());
    assert!(refused.message.contains("is paused already"), "{refused}");
    let refused = told(service.runs.start(run_on(id, 1)).await.unwrap_err());
    assert!(refused.message.contains("cannot be used yet"), "{refused}");

    service.models.resume(id).await.unwrap();
    coming(service.clone()).await;
    service.shutdown().await;
    // The next process finds it cut off, and goes on by itself.
    let service = world.open().await;
    let model = ready(&service, id).await;
    assert_eq!(model.done_bytes, embedded.len() as u64);
    let sent: u64 = world.hub().seen().iter().map(|seen| seen.sent.load(std::sync::atomic::Ordering::Relaxed)).sum();
    assert!(sent < embedded.len() as u64 * 3 / 2, "{sent} bytes were sent for {}", embedded.len());

    // Unused, it goes with its files.
    service.models.remove(id).await.unwrap();
    assert!(service.models.get(id).await.is_err());
    assert!(!world.place.path().join("cache/models--ada--base").exists());
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_licence_that_is_not_accepted_is_told_before_anything_is_queued() {
    let world = World::new(HubOptions::default(), None);
    world.hub().put("meta/gated", &[("model.gguf", &tiny_gguf("qwen2"))]);
    world.hub().set_access("meta/gated", Access::Gated { accepted: BTreeSet::new() });
    let service = world.open().await;
    let check = service.models.check("meta/gated/model.gguf").await.unwrap();
    assert!(matches!(check.hub.as_ref().unwrap().access, HubAccess::TokenMissing { .. }), "{check:?}");
    assert_eq!(service.models.account().await.unwrap().token, TokenSource::None);

    let refused = told(service.models.set_token(Some("hf_nobody".to_string())).await.unwrap_err());
    assert!(refused.message.contains("does not know the access token"), "{refused}");
    let account = service.models.set_token(Some(format!(" {READER}\n"))).await.unwrap();
    assert_eq!((account.token, account.user.as_deref()), (TokenSource::Typed, Some("reader")));
    let check = service.models.check("meta/gated/model.gguf").await.unwrap();
    let HubAccess::LicenceNotAccepted { url } = check.hub.unwrap().access else { panic!("{:?}", check.problems) };
    assert!(url.ends_with("/meta/gated"), "{url}");
    let refused = told(service.models.add(named("meta/gated/model.gguf")).await.unwrap_err());
    assert!(refused.message.contains("licence"), "{refused}");
    assert_eq!(service.models.list().await.unwrap().len(), 1, "the server's own alone");

    let accepted = BTreeSet::from(["reader".to_string()]);
    world.hub().set_access("meta/gated", Access::Gated { accepted });
    let id = service.models.add(named("meta/gated/model.gguf")).await.unwrap();
    ready(&service, id).await;
    assert_eq!(service.models.set_token(None).await.unwrap().token, TokenSource::None);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_on_the_disk_lie_below_folders_that_the_owner_named() {
    let world = World::new(HubOptions::default(), None);
    let service = world.open().await;
    let tiny = fixtures().join("families/qwen2/model.gguf").canonicalize().unwrap();
    let tiny = tiny.to_str().unwrap();
    let id = service.models.add(named(tiny)).await.unwrap();
    let model = service.models.get(id).await.unwrap();
    assert_eq!((model.status, model.info.unwrap().architecture.as_str()), (ModelStatus::Ready, "qwen2"));
    let twice = told(service.models.add(named(tiny)).await.unwrap_err());
    assert!(twice.kind == ErrorKind::Conflict && twice.message.contains("in the catalogue already"), "{twice}");
    for elsewhere in ["/etc/passwd", "/nowhere", "./../../../etc", &format!("{}/../../../Cargo.toml", tiny)] {
        let refused = told(service.models.check(elsewhere).await.unwrap_err());
        assert!(refused.message.contains("--model-folder"), "{elsewhere}: {refused}");
    }
    for nonsense in ["", "one", "a/b/c", "a/../b", "a/b@"] {
        let refused = told(service.models.check(nonsense).await.unwrap_err());
        assert_eq!(refused.kind, ErrorKind::Invalid, "{nonsense}: {refused}");
    }
    let broken = world.place.path().join("broken.gguf");
    std::fs::write(&broken, b"GGUF and then nothing").unwrap();
    // Not below the folder; and what is below it and no model is refused by name.
    assert!(service.models.check(broken.to_str().unwrap()).await.is_err());
    let readme = fixtures().join("families/make.py").canonicalize().unwrap();
    let refused = told(service.models.check(readme.to_str().unwrap()).await.unwrap_err());
    assert!(refused.message.contains("make.py"), "{refused}");

    let refused = told(service.models.remove(OWN_MODEL).await.unwrap_err());
    assert_eq!(refused.kind, ErrorKind::Conflict);
    service.models.remove(id).await.unwrap();
    assert!(Path::new(tiny).exists(), "files that were there before stay");
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_of_others_is_told_its_labels() {
    let world = World::new(HubOptions::default(), None);
    let service = world.open().await;
    let family = fixtures().join("families/qwen3");
    let base = family.join("model.gguf").canonicalize().unwrap();
    let base = service.models.add(named(base.to_str().unwrap())).await.unwrap();
    let adapter = family.join("adapter").canonicalize().unwrap();
    let adapter = adapter.to_str().unwrap();
    let check = service.models.check(adapter).await.unwrap();
    assert_eq!((check.kind, check.labels.len()), (ModelKind::Adapter, 0));
    let one_label = NewModel { base, labels: vec!["up".to_string()], ..named(adapter) };
    assert!(told(service.models.add(one_label).await.unwrap_err()).message.contains("at least two labels"));
    let new = NewModel {
        base,
        labels: vec!["up".to_string(), "down".to_string()],
        prompt_template: Some("{text} =".to_string()),
        ..named(adapter)
    };
    let id = service.models.add(new).await.unwrap();
    let answers =
        service.classifiers.classify(AdapterSource::Model(id), vec!["Profit rose".to_string()]).await.unwrap();
    assert_eq!(answers.labels, ["up", "down"]);
    let refused = told(service.models.remove(base).await.unwrap_err());
    assert!(refused.message.contains("belongs on it"), "{refused}");
    // An adapter for another base is refused when it is used there.
    let dataset = import(&service, "weather.csv", &weather(40)).await;
    let wrong = NewRun { start_from: Some(AdapterSource::Model(id)), ..run_on(OWN_MODEL, dataset.id) };
    let refused = told(service.runs.start(wrong).await.unwrap_err());
    assert!(refused.message.contains("belongs on another base"), "{refused}");
    service.shutdown().await;
}
