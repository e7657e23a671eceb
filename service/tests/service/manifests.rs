//! Every run keeps what it was made of, and can be made again from that, to the last bit.

use crate::support::{Place, device, import, small_run, told, wait_for_status, weather};
use domain::error::ErrorKind;
use domain::manifest::{Manifest, ManifestData};
use domain::run::{LogLevel, RunStatus};
use service::Service;

async fn refused(service: &Service, manifest: &Manifest) -> String {
    let runs = service.runs.list().await.unwrap().len();
    let error = told(service.manifests.start_from_file(manifest).await.unwrap_err());
    assert!(matches!(error.kind, ErrorKind::Conflict | ErrorKind::Invalid), "{error:?}");
    assert_eq!(service.runs.list().await.unwrap().len(), runs, "nothing is started");
    error.message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_reproduced_to_the_last_bit() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(120)).await;
    let mut new = small_run(dataset.id, 2);
    new.spec.lora_dropout = 0.1;
    let run = service.runs.start(new).await.unwrap();
    wait_for_status(&service, run, 0, RunStatus::Finished).await;

    let manifest = service.manifests.get(run).await.unwrap().unwrap();
    let detail = service.runs.get(run).await.unwrap();
    assert_eq!((&manifest.spec, &manifest.labels), (&detail.spec, &detail.summary.labels));
    assert_eq!(
        [manifest.train.rows, manifest.validation.rows, manifest.test.rows],
        [detail.train_rows, detail.validation_rows, detail.test_rows]
    );
    assert_eq!(manifest.base.hash, "e98558642ef8bd7ad5f4e490451e851cca973c1b1f58d5046c0832902a9d5afd");
    let ManifestData::Datasets { dataset: pinned, .. } = &manifest.data else { panic!("{manifest:?}") };
    assert_eq!(pinned.hash, service.datasets.version(dataset.id, 1).await.unwrap().hash);

    // The dataset goes on; the manifest holds on to its version.
    let change = domain::version::RowEdit {
        row: 0,
        seen_text: "day 0: the sun is warm and bright".into(),
        seen_label: "sunny".into(),
        change: domain::version::RowChange::Dropped,
        by: "Test".into(),
    };
    service.datasets.edit(dataset.id, change).await.unwrap();

    let again = service.manifests.reproduce(run).await.unwrap();
    wait_for_status(&service, again, 0, RunStatus::Finished).await;
    let (first, second) = (service.runs.picture(run).await.unwrap(), service.runs.picture(again).await.unwrap());
    let reproduction = service.manifests.reproduction(again).await.unwrap().unwrap();
    assert_eq!((reproduction.of, reproduction.steps_compared), (run, first.steps.len() as u64));
    if device() == engine::Device::Cpu {
        let bits = |picture: &domain::run::RunPicture| -> Vec<[u64; 3]> {
            picture.steps.iter().map(|step| [step.step, step.loss.to_bits(), step.grad_norm.to_bits()]).collect()
        };
        assert!(!first.steps.is_empty());
        assert_eq!(bits(&first), bits(&second));
        assert_eq!(service.runs.predictions(run).await.unwrap(), service.runs.predictions(again).await.unwrap());
        assert_eq!((reproduction.first_other_step, reproduction.other_predictions), (None, Some(0)));
        assert!(second.log.iter().any(|line| line.message.contains("all of which is as it was")));
    }
    assert_eq!(service.manifests.reproduction(run).await.unwrap(), None);
    let of_again = service.manifests.get(again).await.unwrap().unwrap();
    assert_eq!(Manifest { made_at_ms: manifest.made_at_ms, ..of_again }, manifest);

    // It is there after a restart, too.
    service.shutdown().await;
    let service = place.open().await;
    assert_eq!(service.manifests.get(run).await.unwrap().unwrap(), manifest);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_longer_matches_is_named() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(60)).await;
    let run = service.runs.start(small_run(dataset.id, 1)).await.unwrap();
    wait_for_status(&service, run, 0, RunStatus::Finished).await;
    let manifest = service.manifests.get(run).await.unwrap().unwrap();
    let with_data = |change: &dyn Fn(&mut domain::manifest::PinnedDataset)| {
        let mut manifest = manifest.clone();
        let ManifestData::Datasets { dataset, .. } = &mut manifest.data else { panic!() };
        change(dataset);
        manifest
    };

    let gone = refused(&service, &with_data(&|pinned| pinned.id = 77)).await;
    assert!(gone.contains("\"weather\" (number 77) is gone"), "{gone}");
    let gone = refused(&service, &with_data(&|pinned| pinned.version = 9)).await;
    assert!(gone.contains("Version 9 of dataset \"weather\" is gone"), "{gone}");
    let other = refused(&service, &with_data(&|pinned| pinned.hash = "f".repeat(64))).await;
    assert!(other.contains("has other rows") && other.contains("ffffffffffff"), "{other}");

    let mut other_base = manifest.clone();
    other_base.base.hash = "0".repeat(64);
    let other = refused(&service, &other_base).await;
    assert!(other.contains("tohum-16m with the hash 000000000000 is not here"), "{other}");
    // Under another number it is the same base.
    let mut moved = manifest.clone();
    moved.base.id = Some(99);
    assert!(service.manifests.start_from_file(&moved).await.is_ok());

    let mut other_rows = manifest.clone();
    other_rows.test.hash = "1".repeat(64);
    let other = refused(&service, &other_rows).await;
    assert!(other.contains("The test part has other"), "{other}");
    let mut other_labels = manifest.clone();
    other_labels.labels.reverse();
    assert!(refused(&service, &other_labels).await.starts_with("The labels are"));
    let mut frozen = manifest.clone();
    if let ManifestData::Datasets { frozen_test, .. } = &mut frozen.data {
        *frozen_test = Some(5);
    }
    assert!(refused(&service, &frozen).await.contains("frozen test set number 5 is gone"));
    let mut later = manifest.clone();
    later.format = 9;
    assert!(refused(&service, &later).await.contains("form 9"));
    let mut files = manifest.clone();
    files.data = ManifestData::Files {
        train: "/etc/passwd".into(),
        validation: None,
        test: "/etc/passwd".into(),
        text_column: "a".into(),
        label_column: "b".into(),
    };
    assert!(refused(&service, &files).await.contains("command line"));

    // Another program is no reason to refuse, but is told.
    let mut older = manifest.clone();
    older.program = "ayar 0.0.1".into();
    let started = service.manifests.start_from_file(&older).await.unwrap();
    let log = service.runs.picture(started).await.unwrap().log;
    let warned = |line: &domain::run::LogLine| line.level == LogLevel::Warning && line.message.contains("ayar 0.0.1");
    assert!(log.iter().any(warned), "{log:?}");
    let waiting = service.manifests.get(started).await.unwrap();
    assert!(waiting.is_none() || waiting.is_some_and(|manifest| manifest.program != "ayar 0.0.1"));
    assert_eq!(told(service.manifests.reproduce(4711).await.unwrap_err()).kind, ErrorKind::NotFound);
    service.shutdown().await;
}
