//! The queue and the guarded transitions, without a worker.

use super::lease::LEASE_MS;
use super::*;
use crate::hub::HubSettings;
use crate::models::ModelsParts;
use crate::notices::Notices;
use crate::test_support::{Place, database, insert_run};
use domain::error::ErrorKind;
use domain::queue::{Priority, QueueMove};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

async fn runs() -> (Place, Runs) {
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
    let process = ProcessId::new();
    let parts = RunsParts {
        datasets: Datasets::new(db.clone(), files.clone(), clock),
        feed: Feed::new(db.clone(), Notices::new(db.clone(), process.clone()), clock),
        models: Models::open(models).unwrap(),
        db,
        files,
        clock,
        process,
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
    runs.recover(true).await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_long_run_is_shown_thin_and_its_end_exactly_however_often_it_is_looked_at() {
    let (_folder, runs) = runs().await;
    insert_run(&runs.db, 1, RunStatus::Queued).await.unwrap();
    sqlx::query("UPDATE counters SET value = 1 WHERE name = 'run'").execute(&runs.db.pool).await.unwrap();
    let id = runs.make_up(1, 1, 5000).await.unwrap()[0];
    let exact = runs.picture(id).await.unwrap();
    let first = runs.thinned_picture(id).await.unwrap();
    assert_eq!(exact.steps.len(), 5000);
    assert!(first.steps.len() <= domain::thinning::MOST_STEPS);
    let all_but_steps =
        |picture: &domain::run::RunPicture| domain::run::RunPicture { steps: Vec::new(), ..picture.clone() };
    assert_eq!(all_but_steps(&first), all_but_steps(&exact));
    assert_eq!((first.steps.first(), first.steps.last()), (exact.steps.first(), exact.steps.last()));
    // From what was kept.
    assert_eq!(runs.thinned_picture(id).await.unwrap(), first);

    // What comes after is there at once, every step of it.
    for step in 5001..=5100 {
        runs.feed.record(id, RunEvent::Step(made_up_step(step, 6000))).await.unwrap();
    }
    let later = runs.thinned_picture(id).await.unwrap();
    assert_eq!(later.steps[later.steps.len() - 200..], runs.picture(id).await.unwrap().steps[5100 - 200..]);
    assert_eq!(later.last_seq, first.last_seq + 100);

    // A kept picture that cannot be read is made again.
    let spoil = "UPDATE run_pictures SET picture = '{' WHERE run_id = $1";
    assert_eq!(sqlx::query(spoil).bind(id).execute(&runs.db.pool).await.unwrap().rows_affected(), 1);
    assert_eq!(runs.thinned_picture(id).await.unwrap().last_seq, later.last_seq);
    let row = sqlx::query("SELECT picture FROM run_pictures").fetch_one(&runs.db.pool).await.unwrap();
    assert!(row.try_get::<String, _>("picture").unwrap().len() > 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_without_the_runs_of_sweeps() {
    let (_folder, runs) = runs().await;
    for id in 1..=25 {
        let status = if id % 5 == 0 { RunStatus::Cancelled } else { RunStatus::Finished };
        insert_run(&runs.db, id, status).await.unwrap();
    }
    sqlx::query(
        "INSERT INTO sweeps (id, kind, name, status, dataset_id, request, rungs_done, created_at_ms) VALUES (1, 'seeds', \
         's', 'finished', 1, '{}', 0, 0)",
    )
    .execute(&runs.db.pool)
    .await
    .unwrap();
    for (place, run) in [(0, 24), (1, 23)] {
        sqlx::query("INSERT INTO sweep_trials (sweep_id, place, run_id, goes_on) VALUES (1, $1, $2, 0)")
            .bind(place)
            .bind(run)
            .execute(&runs.db.pool)
            .await
            .unwrap();
    }
    let ids = |runs: &[RunSummary]| runs.iter().map(|run| run.id).collect::<Vec<_>>();
    let (first, total) = runs.page_of_single(0, 10).await.unwrap();
    assert_eq!((ids(&first), total), (vec![25, 22, 21, 20, 19, 18, 17, 16, 15, 14], 23));
    assert_eq!(ids(&runs.page_of_single(20, 10).await.unwrap().0), [3, 2, 1]);
    assert!(runs.page_of_single(u64::MAX, 10).await.unwrap().0.is_empty());
    assert_eq!(ids(&runs.of_sweep(1).await.unwrap()), [24, 23]);
    assert_eq!(ids(&runs.finished_runs(None, 3).await.unwrap()), [24, 23, 22]);
    assert_eq!(runs.finished_runs(Some(1), u64::MAX).await.unwrap().len() as u64, runs.count_finished().await.unwrap());
    assert!(runs.finished_runs(Some(2), 3).await.unwrap().is_empty());
    assert!(runs.moving().await.unwrap().is_empty());
}

/// Two processes on one table.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_runs_out_is_given_to_another_and_its_holder_writes_no_more() {
    static NOW: AtomicI64 = AtomicI64::new(1_000);
    let clock: Clock = || NOW.load(Ordering::SeqCst);
    let (_folder, first) = runs().await;
    let first = Runs { clock, ..first };
    let second = Runs { process: ProcessId::new(), ..first.clone() };
    insert_run(&first.db, 1, RunStatus::Queued).await.unwrap();
    assert_eq!(first.claim().await.unwrap().unwrap().id, 1);
    let step = || vec![(7, RunEvent::Step(made_up_step(1, 10)))];
    assert_eq!(first.record_work(1, step(), false).await.unwrap(), RunStatus::Running);
    assert!(matches!(second.record_work(1, step(), false).await, Err(ServiceError::LeaseLost)));

    // As long as it is renewed, nobody takes it away.
    NOW.fetch_add(LEASE_MS, Ordering::SeqCst);
    first.renew_leases().await.unwrap();
    second.renew_leases().await.unwrap();
    NOW.fetch_add(LEASE_MS, Ordering::SeqCst);
    second.recover(false).await.unwrap();
    assert!(second.claim().await.unwrap().is_none());
    assert_eq!(first.record_work(1, step(), false).await.unwrap(), RunStatus::Running);

    NOW.fetch_add(1, Ordering::SeqCst);
    second.recover(false).await.unwrap();
    assert_eq!(second.claim().await.unwrap().unwrap().id, 1);
    let events = first.feed.history(1).await.unwrap().len();
    assert!(matches!(first.record_work(1, step(), false).await, Err(ServiceError::LeaseLost)));
    let settled = first.settle(1, Change::of(RunAction::Finish)).await;
    assert!(matches!(settled, Err(ServiceError::LeaseLost)), "{settled:?}");
    // It does not get back what it lost by a late sign of life.
    first.renew_leases().await.unwrap();
    assert!(matches!(first.record_work(1, step(), false).await, Err(ServiceError::LeaseLost)));
    assert_eq!(first.feed.history(1).await.unwrap().len(), events);
    assert_eq!(second.settle(1, Change::of(RunAction::Finish)).await.unwrap(), RunStatus::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_crashes_three_times_without_a_checkpoint_fails_and_the_queue_goes_on() {
    let (_folder, runs) = runs().await;
    insert_run(&runs.db, 1, RunStatus::Queued).await.unwrap();
    insert_run(&runs.db, 2, RunStatus::Queued).await.unwrap();
    let status = async || status_from(&runs.row(1).await.unwrap()).unwrap();
    let dies = async || {
        assert_eq!(runs.claim().await.unwrap().unwrap().id, 1);
        runs.recover(true).await.unwrap();
    };
    let panics = async || {
        assert_eq!(runs.claim().await.unwrap().unwrap().id, 1);
        let change = runs.after_panic(1, "index out of bounds").await.unwrap();
        runs.settle(1, change).await.unwrap();
    };
    dies().await;
    panics().await;
    // It gets somewhere: what was is forgotten.
    assert_eq!(runs.claim().await.unwrap().unwrap().id, 1);
    runs.record_work(1, vec![(7, RunEvent::Checkpoint { step: 3 })], true).await.unwrap();
    runs.recover(true).await.unwrap();
    panics().await;
    assert_eq!(status().await, RunStatus::Queued);
    // A graceful stop is no crash.
    assert_eq!(runs.claim().await.unwrap().unwrap().id, 1);
    runs.settle(1, Change::of(RunAction::Recover)).await.unwrap();
    assert_eq!(status().await, RunStatus::Queued);
    panics().await;
    assert_eq!(status().await, RunStatus::Failed);
    let failure: String = runs.row(1).await.unwrap().try_get("failure").unwrap();
    assert!(failure.contains("index out of bounds") && failure.contains("given up"), "{failure}");
    assert_eq!(runs.claim().await.unwrap().unwrap().id, 2);
    // Whoever takes it up again gives it new tries.
    runs.transition(1, RunAction::Resume, None, None).await.unwrap();
    runs.recover(true).await.unwrap();
    dies().await;
    dies().await;
    assert_eq!(status().await, RunStatus::Queued);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_reordered_paused_and_shared() {
    let (_folder, runs) = runs().await;
    for (id, person) in [(1, "ann"), (2, "ann"), (3, "ben")] {
        insert_run(&runs.db, id, RunStatus::Queued).await.unwrap();
        sqlx::query("UPDATE runs SET started_by = $2 WHERE id = $1")
            .bind(id)
            .bind(person)
            .execute(&runs.db.pool)
            .await
            .unwrap();
        let mut transaction = runs.db.begin_write().await.unwrap();
        put_in_place(&mut transaction, id).await.unwrap();
        transaction.commit().await.unwrap();
    }
    let order = async || runs.queue().await.unwrap().waiting.iter().map(|waiting| waiting.run).collect::<Vec<_>>();
    assert_eq!(order().await, [1, 3, 2]);
    runs.move_in_queue(2, QueueMove::Front).await.unwrap();
    assert_eq!(order().await, [2, 1, 3]);
    runs.set_priority(3, Priority::High).await.unwrap();
    assert_eq!(order().await, [3, 2, 1]);
    assert!(runs.move_in_queue(3, QueueMove::Down).await.is_err());

    runs.pause_queue("ann").await.unwrap();
    runs.pause_queue("ben").await.unwrap();
    assert_eq!(runs.queue().await.unwrap().paused.unwrap().by, "ann");
    assert!(runs.claim().await.unwrap().is_none());
    runs.resume_queue().await.unwrap();
    assert_eq!(runs.claim().await.unwrap().unwrap().id, 3);
    assert!(UserError::from(runs.set_priority(3, Priority::Low).await.unwrap_err()).message.contains("does not wait"));
    // What comes back from work is first again, though others were moved meanwhile.
    runs.move_in_queue(1, QueueMove::Front).await.unwrap();
    runs.recover(true).await.unwrap();
    assert_eq!(order().await, [3, 1, 2]);
    assert_eq!(runs.queue().await.unwrap().at_work, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_lacks_room_waits_says_why_and_lets_others_pass() {
    static NOW: AtomicI64 = AtomicI64::new(1_000);
    let (_folder, runs) = runs().await;
    let runs = Runs { clock: || NOW.load(Ordering::SeqCst), ..runs };
    insert_run(&runs.db, 1, RunStatus::Queued).await.unwrap();
    insert_run(&runs.db, 2, RunStatus::Queued).await.unwrap();
    // An adapter that no disk has room for.
    let row = sqlx::query("SELECT request FROM runs WHERE id = 1").fetch_one(&runs.db.pool).await.unwrap();
    let mut large: NewRun = json_column(&row, "request").unwrap();
    large.spec.r = 1 << 40;
    let store = |new: &NewRun| {
        let statement = sqlx::query("UPDATE runs SET request = $1 WHERE id = 1").bind(to_json(new).unwrap());
        statement.execute(&runs.db.pool)
    };
    store(&large).await.unwrap();
    assert_eq!(runs.claim().await.unwrap().unwrap().id, 2);
    assert!(runs.claim().await.unwrap().is_none());
    let view = runs.queue().await.unwrap();
    let reason = view.waiting[0].held_up.as_deref().unwrap();
    assert!(reason.contains("of disk") && reason.contains("are free"), "{reason}");

    // With room it is taken up, but not before it is time to look again.
    large.spec.r = 4;
    store(&large).await.unwrap();
    assert!(runs.claim().await.unwrap().is_none());
    NOW.fetch_add(LOOK_AGAIN.as_millis() as i64, Ordering::SeqCst);
    assert_eq!(runs.claim().await.unwrap().unwrap().id, 1);
}
