//! What a run is tested on: the version that it pins, the frozen test set, and the badge.

use crate::support::{Place, import, small_run, told, wait_for_status, weather};
use domain::error::ErrorKind;
use domain::run::{LogLevel, NewRun, RunEvent, RunStatus};
use domain::split::Split;
use domain::version::{RowChange, RowEdit, RowId};
use service::Service;
use std::collections::BTreeSet;

async fn edit(service: &Service, dataset: i64, row: RowId, change: RowChange) -> i64 {
    let rows = service.datasets.snapshot(dataset, None).await.unwrap();
    let place = rows.place(row).unwrap();
    let edit = RowEdit {
        row,
        seen_text: rows.text(place).to_string(),
        seen_label: rows.label_name(place).to_string(),
        change,
        by: "Ada".to_string(),
    };
    service.datasets.edit(dataset, edit).await.unwrap().number
}

async fn finish(service: &Service, new: NewRun) -> i64 {
    let run = service.runs.start(new).await.unwrap();
    wait_for_status(service, run, 0, RunStatus::Finished).await;
    run
}

async fn tested(service: &Service, run: i64) -> BTreeSet<RowId> {
    service.runs.predictions(run).await.unwrap().iter().map(|row| row.row.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_test_set_stays_while_versions_come_and_go() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(80)).await.id;
    let frozen_split = Split::Frozen { validation: 10.0, seed: 1 };
    let on_frozen = || NewRun { split: frozen_split.clone(), ..small_run(dataset, 1) };
    assert!(told(service.runs.start(on_frozen()).await.unwrap_err()).message.contains("no frozen test set"));
    assert_eq!(
        told(service.datasets.freeze_test(dataset, &frozen_split, "Ada").await.unwrap_err()).kind,
        ErrorKind::Invalid
    );

    // Of many who freeze at once one does.
    let split = Split::Percent { train: 70.0, validation: 0.0, test: 30.0, seed: 9 };
    let all = (0..6).map(|person| {
        let (datasets, split) = (service.datasets.clone(), split.clone());
        tokio::spawn(async move { datasets.freeze_test(dataset, &split, &format!("person {person}")).await })
    });
    let mut frozen = Vec::new();
    for one in all.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(set) => frozen.push(set),
            Err(error) => assert!(told(error).message.contains("already")),
        }
    }
    assert_eq!(frozen.len(), 1);
    let frozen = frozen.remove(0);
    assert_eq!((frozen.version, frozen.rows, &frozen.split), (1, 24, &split));
    assert_eq!(service.datasets.frozen_test(dataset).await.unwrap().unwrap(), frozen);

    let before = finish(&service, on_frozen()).await;
    let rows = tested(&service, before).await;
    assert_eq!(rows.len(), 24);

    // A test row goes, a training row changes its text.
    let (gone, kept) = (*rows.first().unwrap(), (0..80).find(|row| !rows.contains(row)).unwrap());
    edit(&service, dataset, gone, RowChange::Dropped).await;
    let text = Some("another text".to_string());
    assert_eq!(edit(&service, dataset, kept, RowChange::Edited { text, label: None }).await, 3);
    let queued = service.runs.start(on_frozen()).await.unwrap();
    // The run was started on the frozen set, and keeps it.
    service.datasets.unfreeze_test(dataset).await.unwrap();
    assert!(service.datasets.unfreeze_test(dataset).await.is_err());
    wait_for_status(&service, queued, 0, RunStatus::Finished).await;
    let mut expected = rows.clone();
    expected.remove(&gone);
    assert_eq!(tested(&service, queued).await, expected);
    for (run, version) in [(before, 1), (queued, 3)] {
        let detail = service.runs.get(run).await.unwrap();
        assert_eq!(detail.summary.dataset_version, version);
        assert!(detail.summary.cleanliness.unwrap().is_clean());
    }

    // A version can be asked for.
    let old = NewRun { dataset_version: Some(1), ..small_run(dataset, 1) };
    let old = service.runs.start(old).await.unwrap();
    let detail = service.runs.get(old).await.unwrap();
    assert_eq!(
        (detail.summary.dataset_version, detail.train_rows + detail.validation_rows + detail.test_rows),
        (1, 80)
    );
    let missing = NewRun { dataset_version: Some(7), ..small_run(dataset, 1) };
    assert_eq!(told(service.runs.start(missing).await.unwrap_err()).kind, ErrorKind::NotFound);
    let runs: Vec<u64> = service.datasets.versions(dataset).await.unwrap().iter().map(|version| version.runs).collect();
    assert_eq!(runs, [1, 0, 2]);
    service.runs.cancel(old).await.unwrap();
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_score_says_what_its_test_rows_are_worth() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(60)).await;
    let test = "text,label\n\
        day 0: the sun is warm and bright,sunny\n\
        day 1: rain and cold wind again,sunny\n\
        a bright and warm sun,sunny\n\
        A BRIGHT and warm sun,rainy\n\
        cold rain all night,rainy\n\
        nothing but wind and rain,rainy\n\
        warm and sunny hours,sunny\n";
    let test = import(&service, "test.csv", test).await;
    let split = Split::OwnTest { test_dataset: test.id, validation_dataset: None, validation: 0.0, seed: 1 };
    let run = service.runs.start(NewRun { split, ..small_run(dataset.id, 4) }).await.unwrap();
    let badge = service.runs.get(run).await.unwrap().summary.cleanliness.unwrap();
    assert_eq!(badge.words(), "3 of 7 test rows contradicted, 2 also in train");
    assert_eq!((badge.clean_rows, badge.before, badge.after), (3, None, None));

    let events = wait_for_status(&service, run, 0, RunStatus::Finished).await;
    let warned = events.iter().any(|event| {
        matches!(&event.event, RunEvent::Log { level: LogLevel::Warning, message } if message.contains(&badge.words()))
    });
    assert!(warned, "{events:?}");
    let rows = service.runs.predictions(run).await.unwrap();
    let flags: Vec<(bool, bool)> =
        rows.iter().map(|row| (row.flags.is_contradicted, row.flags.is_in_training)).collect();
    let (clean, contradicted) = ((false, false), (true, false));
    assert_eq!(flags, [(false, true), (true, true), contradicted, contradicted, clean, clean, clean]);
    let badge = service.runs.get(run).await.unwrap().summary.cleanliness.unwrap();
    for (score, answer) in [
        (badge.before, rows.iter().map(|row| row.before.as_ref().unwrap().label).collect::<Vec<_>>()),
        (badge.after, rows.iter().map(|row| row.after.as_ref().unwrap().label).collect()),
    ] {
        let right = (4..7).filter(|&row| answer[row] == rows[row].truth).count();
        assert_eq!(score.unwrap().accuracy, right as f64 / 3.0);
    }
    assert_eq!(service.runs.list().await.unwrap()[0].cleanliness, Some(badge));
    service.shutdown().await;
}
