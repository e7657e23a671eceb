//! A cross-validation finds wrong labels; several people decide on them; the decisions become a version.

use crate::support::{Place, import, small_run, told, wait_for_status, weather};
use domain::error::ErrorKind;
use domain::review::{Decision, LabelCheck, LabelCheckStatus};
use domain::run::RunStatus;
use domain::split::Split;
use domain::version::{RowChange, RowEdit, RowId, VersionCause};
use service::Service;
use std::sync::atomic::{AtomicI64, Ordering};

/// Rows of [`weather`] that get the other label.
const WRONG: [usize; 4] = [5, 18, 33, 50];
const ROWS: usize = 66;

/// A clock of this file's own, which a test can put forward.
static NOW: AtomicI64 = AtomicI64::new(1_700_000_000_000);

fn clock() -> i64 {
    NOW.fetch_add(1, Ordering::Relaxed)
}

fn weather_with_wrong_labels() -> String {
    let mut lines: Vec<String> = weather(ROWS).lines().map(String::from).collect();
    for row in WRONG {
        let line = &mut lines[row + 1];
        let wrong = if line.ends_with("sunny") { "rainy" } else { "sunny" };
        let (text, _) = line.rsplit_once(',').unwrap();
        *line = format!("{text},{wrong}");
    }
    lines.join("\n")
}

async fn judged(service: &Service, check: &LabelCheck) -> LabelCheck {
    for run in &check.runs {
        wait_for_status(service, *run, 0, RunStatus::Finished).await;
    }
    service.label_checks.get(check.id).await.unwrap()
}

fn relabel(label: &str) -> Decision {
    Decision::Relabel { label: label.to_string() }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_labels_are_found_reviewed_by_several_and_applied() {
    let place = Place::new();
    let service = Service::open_with_clock(place.config(), clock).await.unwrap();
    let dataset = import(&service, "weather.csv", &weather_with_wrong_labels()).await;
    let checks = &service.label_checks;

    // The recipe of a run is what is cross-validated; the run itself need not have come to its end.
    let run = service.runs.start(small_run(dataset.id, 8)).await.unwrap();
    service.runs.cancel(run).await.unwrap();
    for folds in [0, 1, 11] {
        assert_eq!(told(checks.start(run, folds, "Ada").await.unwrap_err()).kind, ErrorKind::Invalid);
    }
    let check = checks.start(run, 3, " Ada ").await.unwrap();
    assert_eq!((check.status, check.runs.len(), check.by.as_str()), (LabelCheckStatus::Working, 3, "Ada"));
    let again = told(checks.start(run, 3, "Bea").await.unwrap_err());
    assert!(again.kind == ErrorKind::Conflict && again.message.contains("still at work"), "{again}");
    assert!(told(checks.decide(check.id, 5, Decision::Drop, "Ada").await.unwrap_err()).message.contains("not through"));
    let first = service.runs.get(check.runs[0]).await.unwrap();
    assert!(matches!(first.split, Split::Fold { fold: 0, folds: 3, .. }));
    assert!(first.summary.name.contains("fold 1 of 3"), "{}", first.summary.name);

    let check = judged(&service, &check).await;
    assert_eq!((check.status, check.judged, check.runs_done), (LabelCheckStatus::Ready, ROWS as u64, 3));
    assert!(check.agreement.unwrap() > 0.85, "{check:?}");
    let doubts = checks.doubtful(check.id, 0, 100).await.unwrap();
    assert_eq!(doubts.len() as u64, check.doubtful);
    let first: Vec<usize> = doubts.iter().take(WRONG.len()).map(|doubt| doubt.row as usize).collect();
    for wrong in WRONG {
        assert!(first.contains(&wrong), "the wrong labels are the most doubtful: {doubts:?}");
    }
    for doubt in &doubts[..WRONG.len()] {
        assert_ne!(doubt.given, doubt.suggested);
        assert!(doubt.p_suggested > doubt.p_given && doubt.text.contains("day"), "{doubt:?}");
    }
    assert_eq!(checks.list(dataset.id).await.unwrap(), [checks.get(check.id).await.unwrap()]);

    // Who has a row open is told for two minutes, and no longer.
    let [one, two, three, four] = WRONG.map(|row| row as RowId);
    assert_eq!(checks.hold(check.id, one, "Ada").await.unwrap().held_by.as_deref(), Some("Ada"));
    assert_eq!(checks.hold(check.id, one, "Bea").await.unwrap().held_by.as_deref(), Some("Ada"));
    NOW.fetch_add(service::label_checks::HELD_FOR_MS, Ordering::Relaxed);
    assert_eq!(checks.hold(check.id, one, "Bea").await.unwrap().held_by.as_deref(), Some("Bea"));
    // Whoever goes on lets go.
    checks.hold(check.id, two, "Bea").await.unwrap();
    assert_eq!(checks.doubtful(check.id, 0, 100).await.unwrap().iter().filter(|row| row.held_by.is_some()).count(), 1);

    // Of many who decide at once one does; the others are told who.
    let all = (0..12).map(|person| {
        let checks = checks.clone();
        let decision = if person % 2 == 0 { Decision::Drop } else { relabel("sunny") };
        tokio::spawn(async move { checks.decide(check.id, one, decision, &format!("person {person}")).await })
    });
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for decided in all.collect::<Vec<_>>() {
        match decided.await.unwrap() {
            Ok(row) => won.push(row),
            Err(error) => lost.push(told(error)),
        }
    }
    assert_eq!((won.len(), lost.len()), (1, 11));
    let winner = won[0].by.clone().unwrap();
    assert!(lost.iter().all(|error| error.kind == ErrorKind::Conflict && error.message.contains(&winner)), "{lost:?}");

    // Whoever has decided may think again; nobody else may.
    let right = |row: RowId| if row.is_multiple_of(2) { "sunny" } else { "rainy" };
    checks.decide(check.id, one, relabel(right(one)), &winner).await.unwrap();
    checks.decide(check.id, two, relabel(right(two)), "Bea").await.unwrap();
    checks.decide(check.id, three, Decision::Drop, "Bea").await.unwrap();
    checks.decide(check.id, four, relabel(right(four)), "Ada").await.unwrap();
    assert!(checks.decide(check.id, four, Decision::Accept, "Bea").await.is_err());
    let unknown = told(checks.decide(check.id, two, relabel("snowy"), "Bea").await.unwrap_err());
    assert!(unknown.message.contains("snowy") && unknown.message.contains("rainy"), "{unknown}");
    assert_eq!(told(checks.hold(check.id, 999, "Ada").await.unwrap_err()).kind, ErrorKind::NotFound);

    // A row that was edited by hand meanwhile stays as it is.
    let seen = checks.doubtful(check.id, 0, 100).await.unwrap().into_iter().find(|doubt| doubt.row == two).unwrap();
    let edit = RowEdit {
        row: two,
        seen_text: seen.text,
        seen_label: seen.given,
        change: RowChange::Edited { text: Some("by hand".to_string()), label: None },
        by: "Cem".to_string(),
    };
    service.datasets.edit(dataset.id, edit).await.unwrap();

    let version = checks.apply(check.id, "Ada").await.unwrap();
    assert_eq!((version.number, version.removed, version.relabelled), (3, 1, 2));
    assert_eq!((version.cause, version.by.as_str()), (VersionCause::Reviewed { check: check.id }, "Ada"));
    let applied = checks.get(check.id).await.unwrap();
    assert_eq!((applied.status, applied.skipped, applied.applied_as), (LabelCheckStatus::Applied, 1, Some(3)));
    let rows = service.datasets.snapshot(dataset.id, None).await.unwrap();
    assert_eq!(rows.place(three), None);
    for row in [one, four] {
        assert_eq!(rows.label_name(rows.place(row).unwrap()), right(row));
    }
    assert_eq!(rows.text(rows.place(two).unwrap()), "by hand");
    for refused in [
        checks.decide(check.id, one, Decision::Drop, &winner).await.err(),
        checks.apply(check.id, "Ada").await.err(),
        checks.hold(check.id, one, "Ada").await.err(),
    ] {
        assert!(told(refused.unwrap()).message.contains("a version already"));
    }

    // A check whose runs are stopped says so, and does not stand in the way of another.
    let stopped = checks.start(run, 2, "Ada").await.unwrap();
    for run in &stopped.runs {
        let _ = service.runs.cancel(*run).await;
    }
    let stopped = checks.get(stopped.id).await.unwrap();
    assert_eq!(stopped.status, LabelCheckStatus::Failed);
    assert!(stopped.failure.as_ref().unwrap().contains("Resume it"), "{stopped:?}");
    assert_eq!(checks.list(dataset.id).await.unwrap().iter().map(|check| check.id).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(told(checks.get(9).await.unwrap_err()).kind, ErrorKind::NotFound);
    service.shutdown().await;
}
