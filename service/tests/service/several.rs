//! Several servers on one PostgreSQL and one data folder. On SQLite there is nothing of that to test.

use crate::support::{Place, import, small_run, wait_for, wait_for_status, weather};
use domain::catalogue::{AdapterSource, ExportStatus};
use domain::export::{ExportKind, MergeInto};
use domain::run::{RunEvent, RunPicture, RunStatus};
use service::{Service, ServiceConfig};
use std::time::Duration;

/// One that trains and one that only answers. None: the tests run on SQLite.
async fn two_servers(place: &Place) -> Option<[Service; 2]> {
    place.database.url()?;
    let worker = place.open().await;
    // By the same clock: leases are times.
    let front = place.open_with(ServiceConfig { takes_up_queues: false, ..place.config() }).await;
    Some([worker, front])
}

fn losses(picture: &RunPicture) -> Vec<(u64, f64)> {
    picture.steps.iter().map(|point| (point.step, point.loss)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_watch_at_another_server_see_every_event_once_and_in_order() {
    let place = Place::new();
    let Some([worker, front]) = two_servers(&place).await else { return };
    let dataset = import(&front, "weather.csv", &weather(120)).await;
    // Asked for at the one, done at the other.
    let run = front.runs.start(small_run(dataset.id, 3)).await.unwrap();
    let there = tokio::spawn({
        let front = front.clone();
        async move { wait_for_status(&front, run, 0, RunStatus::Finished).await }
    });
    let here = wait_for_status(&worker, run, 0, RunStatus::Finished).await;
    let there = there.await.unwrap();
    assert_eq!(there.iter().map(|event| event.seq).collect::<Vec<_>>(), (1..=here.len() as i64).collect::<Vec<_>>());
    assert_eq!(there, here);
    // It can be classified with at both.
    for service in [&worker, &front] {
        let answer = service.classifiers.classify(AdapterSource::Run(run), vec!["sun".to_string()]).await.unwrap();
        assert_eq!(answer.predictions.len(), 1);
    }

    // A stop that is asked for at the one ends the work at the other.
    let long = front.runs.start(small_run(dataset.id, 100)).await.unwrap();
    wait_for(&front, long, 0, |event| matches!(event, RunEvent::Step(_))).await;
    front.runs.cancel(long).await.unwrap();
    wait_for_status(&front, long, 0, RunStatus::Cancelled).await;
    front.shutdown().await;
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_a_server_that_is_given_up_goes_on_at_another_and_ends_the_same() {
    let place = Place::new();
    let Some([worker, front]) = two_servers(&place).await else { return };
    let dataset = import(&front, "weather.csv", &weather(120)).await;
    let twin = front.runs.start(small_run(dataset.id, 6)).await.unwrap();
    wait_for_status(&front, twin, 0, RunStatus::Finished).await;

    let run = front.runs.start(small_run(dataset.id, 6)).await.unwrap();
    wait_for(&front, run, 0, |event| matches!(event, RunEvent::Step(point) if point.epoch > 2.0)).await;
    // As if it had not been heard of for long; it does not know, and goes on until it wants to write.
    let table = sqlx::AnyPool::connect(&place.database.url().unwrap()).await.unwrap();
    let given_up =
        sqlx::query("UPDATE runs SET lease_holder = 'gone', lease_until_ms = 1 WHERE id = $1 AND status = $2")
            .bind(run)
            .bind(RunStatus::Running.as_str())
            .execute(&table)
            .await
            .unwrap();
    assert_eq!(given_up.rows_affected(), 1);
    let events = wait_for_status(&front, run, 0, RunStatus::Finished).await;
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), (1..=events.len() as i64).collect::<Vec<_>>());
    let picture = front.runs.picture(run).await.unwrap();
    assert!(picture.log.iter().any(|line| line.message.contains("goes on from its last checkpoint")));
    assert_eq!(losses(&picture), losses(&front.runs.picture(twin).await.unwrap()));
    assert_eq!(front.runs.predictions(run).await.unwrap(), front.runs.predictions(twin).await.unwrap());
    front.shutdown().await;
    worker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_them_does_what_one_does_for_all_and_another_takes_over() {
    let place = Place::new();
    if place.database.url().is_none() {
        return;
    }
    let first = place.open().await;
    let second = place.open().await;
    let dataset = import(&first, "weather.csv", &weather(120)).await;
    let run = first.runs.start(small_run(dataset.id, 1)).await.unwrap();
    wait_for_status(&second, run, 0, RunStatus::Finished).await;
    let exported = |service: Service| async move {
        let export = service.exports.start(run, ExportKind::Adapter, MergeInto::default()).await.unwrap();
        loop {
            let list = service.exports.list(run).await.unwrap();
            let summary = list.iter().find(|summary| summary.id == export).unwrap();
            match &summary.status {
                ExportStatus::Ready => return export,
                ExportStatus::Failed => panic!("{:?}", summary.failure),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let export = exported(second.clone()).await;
    second.exports.remove(export).await.unwrap();
    first.shutdown().await;
    exported(second.clone()).await;
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_moves_at_all_of_them() {
    let place = Place::new();
    let Some([worker, front]) = two_servers(&place).await else { return };
    let dataset = import(&front, "weather.csv", &weather(120)).await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let run = front.runs.start(small_run(dataset.id, 1)).await.unwrap();
        wait_for_status(&front, run, 0, RunStatus::Finished).await;
        runs.push(AdapterSource::Run(run));
    }
    let answers = |service: Service| async move {
        let served = service.deployments.classify("weather", vec!["rain".to_string()]).await;
        served.ok().map(|served| served.version)
    };
    let until = |wanted: Option<AdapterSource>| {
        let service = worker.clone();
        async move {
            while answers(service.clone()).await != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    assert_eq!(answers(worker.clone()).await, None);
    front.deployments.create("weather", runs[0], "ann").await.unwrap();
    until(Some(runs[0])).await;
    front.deployments.move_to("weather", runs[1], "ann").await.unwrap();
    until(Some(runs[1])).await;
    front.deployments.remove("weather").await.unwrap();
    until(None).await;
    front.shutdown().await;
    worker.shutdown().await;
}
