//! Runs from the queue to their answers, with stops, restarts and failures on the way.

use crate::support::{Place, device, import, small_run, told, wait_for, wait_for_status, weather};
use domain::catalogue::{AdapterSource, OWN_MODEL};
use domain::error::ErrorKind;
use domain::run::{NewRun, RunEvent, RunStatus};
use domain::spec::TrainSpec;
use domain::split::Split;

fn is_step(event: &RunEvent) -> bool {
    matches!(event, RunEvent::Step(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_trains_tells_and_then_classifies() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(120)).await;
    let new = small_run(dataset.id, 4);
    let estimate = service.runs.estimate(&new).await.unwrap();
    assert!(estimate.optimizer_steps > 0 && estimate.train_seconds > 0.0);
    let (row, preview) = service.runs.preview(OWN_MODEL, dataset.id, &new.spec, 121).await.unwrap();
    assert_eq!(row.line, 3);
    assert!(preview.tokens.iter().any(|token| token.loss));

    let run = service.runs.start(new).await.unwrap();
    // Not finished yet: nothing to classify with.
    let early = told(service.classifiers.classify(AdapterSource::Run(run), vec!["sun".into()]).await.unwrap_err());
    assert_eq!(early.kind, ErrorKind::Conflict, "{early}");

    let events = wait_for_status(&service, run, 0, RunStatus::Finished).await;
    assert!(events.iter().enumerate().all(|(place, event)| event.seq == place as i64 + 1));
    let statuses: Vec<RunStatus> = events
        .iter()
        .filter_map(|event| match &event.event {
            RunEvent::Status { status, .. } => Some(*status),
            _ => None,
        })
        .collect();
    assert_eq!(statuses, [RunStatus::Queued, RunStatus::Running, RunStatus::Finished]);

    let detail = service.runs.get(run).await.unwrap();
    let picture = service.runs.picture(run).await.unwrap();
    assert_eq!(detail.summary, service.runs.list().await.unwrap()[0]);
    assert_eq!(detail.summary.progress, 1.0);
    assert_eq!(detail.summary.labels, ["rainy", "sunny"]);
    assert_eq!(detail.summary.accuracy_after, picture.after.as_ref().map(|after| after.accuracy));
    assert_eq!(detail.summary.accuracy_before, picture.before.as_ref().map(|before| before.accuracy));
    assert!(detail.summary.ended_at_ms > detail.summary.started_at_ms);
    assert!(!detail.resumable);
    assert_eq!(picture.last_step().unwrap().total_steps, estimate.optimizer_steps);

    // What the tables show, what the chart counts and what the classifier answers is the same.
    let tested = service.runs.predictions(run).await.unwrap();
    assert_eq!(tested.len() as u64, detail.test_rows);
    let right = tested.iter().filter(|row| row.after.as_ref().unwrap().label == row.truth).count();
    assert_eq!(Some(right as f64 / tested.len() as f64), detail.summary.accuracy_after);
    let texts: Vec<String> = tested.iter().take(5).map(|row| row.text.clone()).collect();
    let answers = service.classifiers.classify(AdapterSource::Run(run), texts.clone()).await.unwrap();
    let base_answers = service.classifiers.classify_base(AdapterSource::Run(run), texts).await.unwrap();
    assert_eq!(answers.labels, detail.summary.labels);
    assert!(answers.duration_ms > 0.0);
    for ((row, answer), base_answer) in tested.iter().zip(&answers.predictions).zip(&base_answers.predictions) {
        assert_eq!(row.after.as_ref().unwrap().label, answer.label);
        assert_eq!(row.before.as_ref().unwrap().label, base_answer.label);
        for (one, other) in row.after.as_ref().unwrap().probabilities.iter().zip(&answer.probabilities) {
            assert!((one - other).abs() < 1e-4, "{one} {other}");
        }
    }

    // It looks the same tomorrow.
    service.shutdown().await;
    let service = place.open().await;
    assert_eq!(service.runs.get(run).await.unwrap(), detail);
    assert_eq!(service.runs.picture(run).await.unwrap(), picture);
    assert_eq!(service.runs.predictions(run).await.unwrap(), tested);
    assert!(service.classifiers.classify(AdapterSource::Run(run), vec!["the sun is warm".into()]).await.is_ok());
    for refused in [service.runs.cancel(run).await, service.runs.resume(run).await] {
        assert_eq!(told(refused.unwrap_err()).kind, ErrorKind::Conflict);
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_cancelled_and_resumed_and_draws_every_step_once() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(200)).await;
    let run = service.runs.start(small_run(dataset.id, 10)).await.unwrap();
    let behind = service.runs.start(small_run(dataset.id, 1)).await.unwrap();

    wait_for(&service, run, 0, is_step).await;
    assert_eq!(service.runs.get(behind).await.unwrap().summary.ahead_in_queue, 1);
    // A queued one is cancelled at once.
    service.runs.cancel(behind).await.unwrap();
    assert_eq!(service.runs.get(behind).await.unwrap().summary.status, RunStatus::Cancelled);

    service.runs.cancel(run).await.unwrap();
    let events = wait_for_status(&service, run, 0, RunStatus::Cancelled).await;
    assert!(events.iter().any(|event| matches!(event.event, RunEvent::Status { status: RunStatus::Cancelling, .. })));
    let detail = service.runs.get(run).await.unwrap();
    assert!(detail.resumable, "{detail:?}");
    assert!(detail.summary.progress < 1.0);

    let seen = events.last().unwrap().seq;
    service.runs.resume(run).await.unwrap();
    wait_for_status(&service, run, seen, RunStatus::Finished).await;
    let picture = service.runs.picture(run).await.unwrap();
    let total = picture.last_step().unwrap().total_steps;
    let steps: Vec<u64> = picture.steps.iter().map(|point| point.step).collect();
    assert_eq!(steps, (1..=total).collect::<Vec<_>>());

    // The one that was cancelled before it began can be taken up, too.
    let detail = service.runs.get(behind).await.unwrap();
    assert!(!detail.resumable);
    service.runs.resume(behind).await.unwrap();
    wait_for_status(&service, behind, 0, RunStatus::Finished).await;
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_the_server_and_a_kill_lose_nothing() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(200)).await;
    let run = service.runs.start(small_run(dataset.id, 10)).await.unwrap();
    let mut watch = service.feed.watch(run, 0);
    wait_for(&service, run, 0, is_step).await;
    service.shutdown().await;
    // Watchers are let go.
    while watch.next().await.is_some() {}

    let service = place.open().await;
    let history = service.runs.picture(run).await.unwrap();
    assert!(history.log.iter().any(|line| line.message.contains("The server stops")), "{:?}", history.log);
    wait_for(&service, run, history.last_seq, is_step).await;
    service.shutdown().await;

    // As a kill leaves it: at work in the table, nobody at work.
    let file = format!("sqlite://{}", place.path().join("ayar.db").display());
    let url = place.database.url().unwrap_or(file);
    let table = sqlx::AnyPool::connect(&url).await.unwrap();
    let killed =
        sqlx::query("UPDATE runs SET status = 'running' WHERE id = $1").bind(run).execute(&table).await.unwrap();
    assert_eq!(killed.rows_affected(), 1);
    table.close().await;

    let service = place.open().await;
    wait_for_status(&service, run, history.last_seq, RunStatus::Finished).await;
    let picture = service.runs.picture(run).await.unwrap();
    assert!(picture.log.iter().any(|line| line.message.contains("ended while this run was at work")));
    let total = picture.last_step().unwrap().total_steps;
    assert_eq!(picture.steps.iter().map(|point| point.step).collect::<Vec<_>>(), (1..=total).collect::<Vec<_>>());

    // The same as a run that was left alone.
    let twin = service.runs.start(small_run(dataset.id, 10)).await.unwrap();
    wait_for_status(&service, twin, 0, RunStatus::Finished).await;
    let twin = service.runs.picture(twin).await.unwrap();
    let losses = |picture: &domain::run::RunPicture| picture.steps.iter().map(|point| point.loss).collect::<Vec<_>>();
    if device() == engine::Device::Cpu {
        assert_eq!(losses(&picture), losses(&twin));
    } else {
        // A card adds up the gradients of shared keys in an order of its own: within the noise of bf16.
        let (ours, theirs) = (losses(&picture), losses(&twin));
        let far = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0f64, f64::max);
        assert!(far < 0.03 * theirs[0] + 0.03, "{far}");
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_says_why_and_the_queue_goes_on() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(120)).await;
    // A file where the first run's folder is to be: the disk does not do as told.
    std::fs::write(place.path().join("runs/1"), "in the way").unwrap();
    let first = service.runs.start(small_run(dataset.id, 1)).await.unwrap();
    let second = service.runs.start(small_run(dataset.id, 1)).await.unwrap();
    let events = wait_for_status(&service, first, 0, RunStatus::Failed).await;
    wait_for_status(&service, second, 0, RunStatus::Finished).await;
    let detail = service.runs.get(first).await.unwrap();
    let failure = detail.summary.failure.unwrap();
    assert!(failure.contains("runs/1"), "{failure}");

    // With the hindrance gone, it can be taken up.
    std::fs::remove_file(place.path().join("runs/1")).unwrap();
    service.runs.resume(first).await.unwrap();
    wait_for_status(&service, first, events.last().unwrap().seq, RunStatus::Finished).await;
    assert_eq!(service.runs.get(first).await.unwrap().summary.failure, None);
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_refused_before_it_is_queued() {
    let place = Place::new();
    let service = place.open().await;
    let dataset = import(&service, "weather.csv", &weather(40)).await;
    let snow = weather(40).replace("rainy", "snowy");
    let other = import(&service, "snow.csv", &snow).await;
    let good = small_run(dataset.id, 1);
    let with_split = |split: Split| NewRun { split, ..good.clone() };
    for (new, kind, words) in [
        (NewRun { dataset_id: 99, ..good.clone() }, ErrorKind::NotFound, "dataset number 99"),
        (NewRun { spec: TrainSpec { r: 0, ..good.spec.clone() }, ..good.clone() }, ErrorKind::Invalid, "(r)"),
        (with_split(Split::PerLabel { train: 90, validation: 0, test: 9, seed: 1 }), ErrorKind::Invalid, "fewer rows"),
        (with_split(Split::Percent { train: 90.0, validation: 0.0, test: 20.0, seed: 1 }), ErrorKind::Invalid, "110"),
        (
            with_split(Split::OwnTest { test_dataset: dataset.id, validation_dataset: None, validation: 0.0, seed: 1 }),
            ErrorKind::Invalid,
            "training dataset itself",
        ),
        (
            with_split(Split::OwnTest { test_dataset: other.id, validation_dataset: None, validation: 0.0, seed: 1 }),
            ErrorKind::Invalid,
            "\"snowy\"",
        ),
    ] {
        let estimated = told(service.runs.estimate(&new).await.unwrap_err());
        let error = told(service.runs.start(new).await.unwrap_err());
        assert_eq!((error.kind, estimated.kind), (kind, kind), "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    assert!(service.runs.list().await.unwrap().is_empty());
    for missing in [0, -1, 5] {
        assert_eq!(told(service.runs.get(missing).await.unwrap_err()).kind, ErrorKind::NotFound);
        assert_eq!(told(service.runs.cancel(missing).await.unwrap_err()).kind, ErrorKind::NotFound);
        assert_eq!(told(service.runs.picture(missing).await.unwrap_err()).kind, ErrorKind::NotFound);
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_model_that_is_broken_or_missing_is_told_at_the_start() {
    let place = Place::new();
    let broken = place.path().join("broken.gguf");
    std::fs::write(&broken, b"GGUF\x03\0\0\0 and nothing more").unwrap();
    for base_model in [broken, place.path().join("nowhere.gguf")] {
        let config = service::ServiceConfig { base_model: base_model.clone(), ..place.config() };
        let error = told(service::Service::open(config).await.err().unwrap());
        assert_ne!(error.kind, ErrorKind::Internal);
        assert!(error.message.contains(base_model.to_str().unwrap()), "{error}");
    }
}
