//! The queue and the guarded transitions, without a worker.

use super::*;
use crate::hub::HubSettings;
use crate::models::ModelsParts;
use crate::test_support::{database, insert_run};
use domain::error::ErrorKind;
use std::path::Path;

async fn runs() -> (tempfile::TempDir, Runs) {
    let (folder, db) = database().await;
    let clock: Clock = || 7;
    let files = Files::open(folder.path()).unwrap();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/base/tohum-16m.gguf");
    let models = ModelsParts {
        db: db.clone(),
        files: files.clone(),
        clock,
        own: base,
        folders: Vec::new(),
        device: engine::Device::Cpu,
        hub: HubSettings::from_environment(),
    };
    let parts = RunsParts {
        datasets: Datasets::new(db.clone(), files.clone(), clock),
        feed: Feed::new(db.clone(), clock),
        models: Models::open(models).unwrap(),
        db,
        files,
        clock,
    };
    (folder, Runs::new(parts))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_claims_at_once_each_gets_another_run() {
    let (_folder, runs) = runs().await;
    for id in 1..=3 {
        insert_run(&runs.db, id, RunStatus::Queued).await.unwrap();
    }
    let claims: Vec<_> = (0..8)
        .map(|_| {
            let runs = runs.clone();
            tokio::spawn(async move { runs.claim().await.unwrap().map(|claimed| claimed.id) })
        })
        .collect();
    let mut claimed = Vec::new();
    for claim in claims {
        claimed.extend(claim.await.unwrap());
    }
    claimed.sort_unstable();
    assert_eq!(claimed, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transition_is_the_one_of_the_table_and_is_recorded() {
    use RunAction::*;
    let (_folder, runs) = runs().await;
    let mut id = 0;
    for status in RunStatus::ALL {
        for action in [RequestCancel, Stop, Finish, Fail, Resume, Recover] {
            id += 1;
            insert_run(&runs.db, id, status).await.unwrap();
            let moved = runs.transition(id, action, None, Some("why".to_string())).await;
            let now = status_from(&runs.row(id).await.unwrap()).unwrap();
            let history = runs.feed.history(id).await.unwrap();
            match status.after(action) {
                Some(next) => {
                    assert_eq!((moved.unwrap(), now), (next, next), "{status:?} {action:?}");
                    assert!(matches!(&history[0].event, RunEvent::Status { status, .. } if *status == next));
                    let summary = summary_from(&runs.row(id).await.unwrap()).unwrap();
                    assert_eq!(summary.failure.is_some(), next == RunStatus::Failed);
                    assert_eq!(summary.ended_at_ms.is_some(), next.is_settled());
                }
                None => {
                    assert_eq!(UserError::from(moved.unwrap_err()).kind, ErrorKind::Conflict, "{status:?} {action:?}");
                    assert_eq!((now, history.len()), (status, 0));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stops_at_once_move_a_run_once() {
    let (_folder, runs) = runs().await;
    insert_run(&runs.db, 1, RunStatus::Running).await.unwrap();
    let stops: Vec<_> = (0..4)
        .map(|_| {
            let runs = runs.clone();
            tokio::spawn(async move { runs.cancel(1).await.is_ok() })
        })
        .collect();
    let mut done = 0;
    for stop in stops {
        done += usize::from(stop.await.unwrap());
    }
    assert_eq!((done, runs.feed.history(1).await.unwrap().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_off_comes_first_again_and_a_stop_that_was_cut_off_is_one() {
    let (_folder, runs) = runs().await;
    insert_run(&runs.db, 1, RunStatus::Running).await.unwrap();
    insert_run(&runs.db, 2, RunStatus::Cancelling).await.unwrap();
    insert_run(&runs.db, 3, RunStatus::Queued).await.unwrap();
    runs.recover().await.unwrap();
    let statuses: Vec<_> =
        runs.list().await.unwrap().iter().map(|run| (run.id, run.status, run.ahead_in_queue)).collect();
    assert_eq!(statuses, [(3, RunStatus::Queued, 1), (2, RunStatus::Cancelled, 0), (1, RunStatus::Queued, 0)]);
    for id in [1, 2] {
        let history = runs.feed.history(id).await.unwrap();
        assert!(matches!(history[0].event, RunEvent::Log { level: LogLevel::Warning, .. }));
        assert!(matches!(history[1].event, RunEvent::Status { .. }));
    }
    assert_eq!(runs.claim().await.unwrap().unwrap().id, 1);
}
